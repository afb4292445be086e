//! A participant, or one like it in all but what its functions do: so a bug is told apart by type from nothing else.

use farandole::Participant;

/// `P`, or one like it: the same in all but what its functions do.
pub trait Like<P: Participant>:
    Participant<
        Id = P::Id,
        Event = P::Event,
        Heard = P::Heard,
        Command = P::Command,
        Deadline = P::Deadline,
        Effect = P::Effect,
        Tables = P::Tables,
    >
{
}
impl<P: Participant, Q> Like<P> for Q where
    Q: Participant<
            Id = P::Id,
            Event = P::Event,
            Heard = P::Heard,
            Command = P::Command,
            Deadline = P::Deadline,
            Effect = P::Effect,
            Tables = P::Tables,
        >
{
}
