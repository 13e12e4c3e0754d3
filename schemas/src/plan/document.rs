//! A plan as people write it: the shape of the YAML file. Its JSON Schema is published.
