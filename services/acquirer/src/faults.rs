//! The faults that the acquirer knows. README.md says what each does.

use standin::fields::SWITCH;

standin::faults! {
    decline_all: bool = false, SWITCH;
}

/// The faults in force, and the generator.
pub type Switchboard = standin::faults::Switchboard<Faults>;
