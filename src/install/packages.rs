//! Debian packages through the real apt-get.
