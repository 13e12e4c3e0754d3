//! Artifacts: kept under the hash of their bytes, durable, and erasable.

use testledger_schemas::hash::Hash;

use crate::adapters::{self, Adapter, contract};

contract! {
    async fn an_artifact_is_kept_under_the_hash_of_its_bytes(adapter: &Adapter) {
        let log = adapter.open().await;
        for bytes in [vec![], b"plan".to_vec(), vec![0, 255, 0], vec![7; 3 << 20]] {
            let hash = log.put_artifact(bytes.clone()).await.unwrap();
            assert_eq!(hash, Hash::of(&bytes));
            assert_eq!(log.put_artifact(bytes.clone()).await.unwrap(), hash);
            assert_eq!(log.get_artifact(hash).await.unwrap(), Some(bytes));
        }
        assert_eq!(log.get_artifact(Hash::of(b"another")).await.unwrap(), None);
        assert_eq!(log.last_page().await.unwrap().number, 0, "artifacts take no position");
    }

    async fn an_artifact_is_there_for_other_processes_and_later_ones(adapter: &Adapter) {
        let (one, two) = (adapter.open().await, adapter.open().await);
        let hash = one.put_artifact(b"output".to_vec()).await.unwrap();
        assert_eq!(two.get_artifact(hash).await.unwrap().as_deref(), Some(b"output".as_slice()));
        one.close().await;
        two.close().await;
        let later = adapter.open().await;
        assert_eq!(later.get_artifact(hash).await.unwrap().as_deref(), Some(b"output".as_slice()));
    }

    async fn an_erased_artifact_is_gone_and_erasing_again_is_success(adapter: &Adapter) {
        let log = adapter.open().await;
        let (gone, kept) = (log.put_artifact(b"leak".to_vec()).await.unwrap(), log.put_artifact(b"plan".to_vec()).await.unwrap());
        for _ in 0..2 {
            log.erase_artifacts(&[gone, Hash::of(b"never there")]).await.unwrap();
            assert_eq!(log.get_artifact(gone).await.unwrap(), None);
            assert!(log.get_artifact(kept).await.unwrap().is_some());
        }
        log.erase_artifacts(&[]).await.unwrap();
    }
}
