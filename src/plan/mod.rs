//! The room where a plan is read: text in, validated plan out. Pure.
