//! The command line: one file per verb; client verbs talk to the API only.
