//! Where views are kept, and how they are asked.
