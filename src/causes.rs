//! Errors as people read them.

use std::error::Error;

/// An error with everything behind it, in one line: the outermost text alone often says too little.
#[must_use]
pub fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        // Many errors repeat the one behind them.
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, Option<Box<Outer>>);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|inner| inner as _)
        }
    }

    #[test]
    fn each_cause_is_told_once() {
        let inner = Outer("refused", None);
        let middle = Outer("connect: refused", Some(Box::new(inner)));
        assert_eq!(told(&Outer("call", Some(Box::new(middle)))), "call: connect: refused");
    }
}
