//! What a step prints: read, redacted, counted, hashed, kept up to a cap.
