//! A connection on which commits get lost: on the way there, or on the way back. A save finds out what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mongodb::options::ServerAddress;
use mongodb::{Client, Database};
use testledger::views::mongodb::MongoViews;
use testledger_projections::ports::{Checkpoint, Saved, ViewStore, ViewStoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Samples, sample};
use crate::folding::place;
use crate::mongodb_server::{TestDatabase, fresh_database};
use crate::stores::run;

/// What happens to the next commits.
#[derive(Default)]
struct Wire {
    /// So many do not reach the server.
    lost_there: AtomicUsize,
    /// So many are carried out, and nobody hears of it.
    lost_back: AtomicUsize,
    /// Nothing passes any more, and nothing breaks.
    is_silent: AtomicBool,
}

/// One less, if there is one.
fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// One message of MongoDB's protocol: its length comes first.
async fn message(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32_le().await?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.resize(length as usize, 0);
    from.read_exact(&mut bytes[4..]).await?;
    Ok(bytes)
}

impl Wire {
    /// Carries questions and answers until one is to be lost. One of the two speaks at a time.
    async fn carry(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        loop {
            tokio::select! {
                asked = message(&mut client) => {
                    let asked = asked?;
                    if self.is_silent.load(Ordering::SeqCst) {
                        std::future::pending::<()>().await;
                    }
                    let is_commit = asked.windows(17).any(|bytes| bytes == b"commitTransaction");
                    if is_commit && take(&self.lost_there) {
                        return Ok(());
                    }
                    server.write_all(&asked).await?;
                    if is_commit && take(&self.lost_back) {
                        message(&mut server).await?;
                        return Ok(());
                    }
                }
                answer = message(&mut server) => client.write_all(&answer?).await?,
            }
        }
    }
}

/// A way to the database that leads over a wire.
async fn over_a_wire(test: &TestDatabase) -> (Arc<Wire>, Database) {
    let (wire, mut options) = (Arc::new(Wire::default()), test.options().await);
    let ServerAddress::Tcp { host, port } = options.hosts[0].clone() else { panic!("a server on TCP") };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = listener.local_addr().unwrap();
    options.hosts = vec![ServerAddress::Tcp { host: near.ip().to_string(), port: Some(near.port()) }];
    options.direct_connection = Some(true);
    options.repl_set_name = None;
    let carrying = wire.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect((host.as_str(), port.unwrap_or(27017))).await.unwrap();
            let wire = carrying.clone();
            tokio::spawn(async move { wire.carry(client, server).await });
        }
    });
    (wire, Client::with_options(options).unwrap().database(test.database.name()))
}

#[test]
fn a_save_whose_commit_is_lost_is_written_exactly_once() {
    run(async {
        let server = fresh_database().await;
        let (wire, far) = over_a_wire(&server).await;
        let store = MongoViews::<Samples>::open(&far).await.unwrap();
        let near = MongoViews::<Samples>::open(&server.database).await.unwrap();
        let key = ["one".to_owned()];
        // The driver sends a commit twice by itself, the store so twice: four are one whole attempt.
        for (there, back) in [(1, 0), (5, 0), (0, 5), (2, 3)] {
            store.reset().await.unwrap();
            let start = store.checkpoint().await.unwrap();
            let [one, two] = [1, 2].map(|number| Checkpoint { epoch: start.epoch, ..place(number, "x") });
            for (before, after) in [(start, one.clone()), (one, two)] {
                wire.lost_there.store(there, Ordering::SeqCst);
                wire.lost_back.store(back, Ordering::SeqCst);
                let view = sample(&format!("{there} there, {back} back, from {}", before.position));
                let saved = store.save(&before, vec![(key[0].clone(), view.clone())], &after).await;
                assert_eq!(saved.unwrap(), Saved::Yes, "{}", view.text);
                assert_eq!((wire.lost_there.load(Ordering::SeqCst), wire.lost_back.load(Ordering::SeqCst)), (0, 0));
                assert_eq!(near.checkpoint().await.unwrap(), after, "{}", view.text);
                assert_eq!(near.load(&key).await.unwrap(), [Some(view)]);
            }
        }
    });
}

/// The commit is carried out, nobody hears of it, and another worker goes on before this one asks again.
#[test]
fn a_save_that_was_carried_out_in_silence_is_not_done_again() {
    run(async {
        let server = fresh_database().await;
        let (wire, far) = over_a_wire(&server).await;
        let store = MongoViews::<Samples>::open(&far).await.unwrap();
        let near = MongoViews::<Samples>::open(&server.database).await.unwrap();
        let one = |text: &str| vec![("one".to_owned(), sample(text))];
        store.save(&Checkpoint::START, one("start"), &place(1, "x")).await.unwrap();
        wire.lost_back.store(1_000, Ordering::SeqCst);
        let saving = tokio::spawn(async move { store.save(&place(1, "x"), one("first"), &place(2, "x")).await });
        while near.checkpoint().await.unwrap().position == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(near.save(&place(2, "x"), one("second"), &place(3, "x")).await.unwrap(), Saved::Yes);
        wire.lost_back.store(0, Ordering::SeqCst);
        let saved = saving.await.unwrap().unwrap();
        // Whether it learned in time that it was carried out makes no difference: it is not done again.
        assert!(matches!(saved, Saved::Yes | Saved::Overtaken));
        assert_eq!(near.checkpoint().await.unwrap(), place(3, "x"));
        assert_eq!(near.load(&["one".to_owned()]).await.unwrap(), [Some(sample("second"))]);
    });
}

/// A server that takes everything and answers nothing. The clock is put forward: nobody waits so long in a test.
#[tokio::test]
async fn who_asks_a_silent_server_is_told_in_the_end() {
    let server = fresh_database().await;
    let (wire, far) = over_a_wire(&server).await;
    let store = MongoViews::<Samples>::open(&far).await.unwrap();
    let one = |text: &str| vec![("one".to_owned(), sample(text))];
    store.save(&Checkpoint::START, one("start"), &place(1, "x")).await.unwrap();
    wire.is_silent.store(true, Ordering::SeqCst);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let saved = store.save(&place(1, "x"), one("late"), &place(2, "x")).await;
    let waited = begun.elapsed();
    tokio::time::resume();
    assert!(matches!(saved, Err(ViewStoreError::Unavailable(_))), "{saved:?}");
    assert!(waited <= Duration::from_secs(61), "{waited:?}");
    wire.is_silent.store(false, Ordering::SeqCst);
    assert_eq!(store.save(&place(1, "x"), one("later"), &place(2, "x")).await.unwrap(), Saved::Yes);
}
