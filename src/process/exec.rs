//! The hidden verb `procserver exec`: sets a process up from inside, then becomes it.

pub fn run() -> ! {
    todo!()
}
