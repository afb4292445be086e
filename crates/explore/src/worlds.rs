//! All worlds.

use farandole_check::World;
use inventory::Inventory;
use webhooks::Webhooks;

use crate::fulfilling::{self, impatient, three};
use crate::shop::{notifications, orders, payments, shipping};
use crate::{placing, subscribed, telling};

/// The worlds of the shop as it runs; the `deep` ones are for hours.
pub fn worlds(deep: bool) -> Vec<World> {
    let who = || (orders(), Inventory, payments());
    let small = [
        placing::one_order(who()),
        placing::silent_acquirer(who()),
        placing::reservations((orders(), Inventory)),
        placing::one_and_a_half(who()),
        fulfilling::cancelled_or_dispatched(three()),
        fulfilling::report_before_the_answer(three()),
        fulfilling::lost_parcel(three()),
        fulfilling::silent_carrier(impatient()),
        fulfilling::silent_capture(three()),
        fulfilling::no_capture(three()),
        fulfilling::refused_refund(three()),
        fulfilling::expiring_hold(three()),
        fulfilling::wrong_acquirer((orders(), payments())),
        fulfilling::adjusted((orders(), Inventory, shipping())),
        telling::mails((orders(), notifications())),
        telling::no_mail_server((orders(), notifications())),
        telling::early_mails((orders(), shipping(), notifications())),
        subscribed::tried_again((orders(), Webhooks)),
        subscribed::removed((orders(), Webhooks)),
        subscribed::two_subscribers((orders(), Webhooks)),
    ];
    let large = deep.then(|| {
        [
            placing::one_order(who()).losses(3, 2),
            placing::two_orders(who()),
            fulfilling::cancelled_or_dispatched(three()).losses(1, 1),
            fulfilling::lost_parcel(three()).losses(1, 1),
            fulfilling::adjusted((orders(), Inventory, shipping())).losses(1, 0),
        ]
    });
    small.into_iter().chain(large.into_iter().flatten()).collect()
}
