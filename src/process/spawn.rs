//! Starts `procserver exec` with a specification and reads its error pipe.
