//! Misbehaviour on request: the faults in force, and when each of them strikes.

use crate::{
    fault::{Aim, Effect, Fault, Refusal, Route, When},
    record::Host,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The faults in force.
#[derive(Default)]
pub struct Faults {
    set: Mutex<Vec<Counted>>,
}

struct Counted {
    fault: Fault,
    /// Requests met that it is aimed at.
    met: u64,
    /// How many of them it struck.
    struck: usize,
}

impl Counted {
    /// What happens this time.
    fn effect(&self) -> Option<Effect> {
        match &self.fault.effect {
            Effect::InTurn(effects) => {
                effects.get(self.struck.checked_rem(effects.len()).unwrap_or_default()).cloned()
            }
            effect => Some(effect.clone()),
        }
    }
}

impl Faults {
    /// Sets one more fault.
    pub fn add(&self, fault: Fault) {
        self.lock().push(Counted { fault, met: 0, struck: 0 });
    }

    /// Takes all faults away. Requests already hanging go on hanging.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults that can still strike.
    pub fn list(&self) -> Vec<Fault> {
        self.lock().iter().map(|counted| counted.fault.clone()).collect()
    }

    /// The effects on a request, in the order the faults were set.
    pub(crate) fn strike(&self, aim: &Aim) -> Vec<Effect> {
        let elsewhere =
            |effect: &Effect| matches!(effect, Effect::HangBeforeTls {} | Effect::RefuseInstance(_));
        self.advance(|fault| !elsewhere(&fault.effect) && fault.is_aimed_at(aim))
    }

    /// Whether the instance `uid`, which came with a request, is to be refused.
    pub(crate) fn refusal(&self, aim: &Aim, uid: &str) -> Option<Refusal> {
        let struck = self.advance(|fault| {
            let Effect::RefuseInstance(refusal) = &fault.effect else { return false };
            refusal.sop_instance_uid == uid && fault.is_aimed_at(aim)
        });
        struck.into_iter().find_map(|effect| match effect {
            Effect::RefuseInstance(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Whether a connection just accepted is to hang.
    pub(crate) fn strike_connection(&self, host: Host) -> bool {
        let aimed = |on| on == Route::Any || (on == Route::Metadata) == (host == Host::Metadata);
        !self.advance(|fault| fault.effect == Effect::HangBeforeTls {} && aimed(fault.on)).is_empty()
    }

    fn advance(&self, aimed_at: impl Fn(&Fault) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.lock().retain_mut(|counted| {
            if !aimed_at(&counted.fault) {
                return true;
            }
            counted.met += 1;
            let (strikes, remains) = match counted.fault.when {
                When::Times(count) => (counted.met <= count, counted.met < count),
                When::Every(n) => (n > 0 && counted.met % n == 0, true),
                When::UntilCleared => (true, true),
            };
            if strikes {
                effects.extend(counted.effect());
                counted.struck += 1;
            }
            remains
        });
        effects
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Counted>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Method;

    fn strikes(fault: Fault, requests: usize) -> Vec<bool> {
        let faults = Faults::default();
        faults.add(fault);
        let aim = aim(Route::Stow);
        (0..requests).map(|_| !faults.strike(&aim).is_empty()).collect()
    }

    fn aim(kind: Route) -> Aim {
        Aim { kind, method: Method::POST, path: "/v1/a".to_owned() }
    }

    #[test]
    fn each_schedule_strikes_when_it_says() {
        let fault = || Fault::hang(Route::Stow);
        assert_eq!(strikes(fault(), 3), [true, false, false]);
        assert_eq!(strikes(fault().times(2), 3), [true, true, false]);
        assert_eq!(strikes(fault().every(2), 4), [false, true, false, true]);
        assert_eq!(strikes(fault().until_cleared(), 2), [true, true]);
        assert_eq!(strikes(Fault::hang(Route::Any), 2), [true, false]);
        assert_eq!(strikes(Fault::hang(Route::Wado).until_cleared(), 1), [false]);
        assert_eq!(strikes(fault().on_path("/b"), 1), [false]);
        assert_eq!(strikes(fault().on_path("/a"), 1), [true]);
        assert_eq!(strikes(fault().on_method("POST"), 1), [true]);
        assert_eq!(strikes(fault().on_method("PUT"), 1), [false]);
        assert_eq!(strikes(Fault::hang_before_tls(), 1), [false]);
        assert_eq!(strikes(Fault::refuse_instance("1.2", ""), 1), [false]);
        assert_eq!(strikes(Fault::in_turn(Route::Stow, []).until_cleared(), 2), [false, false]);
    }

    #[test]
    fn effects_take_turns_beside_other_faults() {
        let faults = Faults::default();
        let busy = |status| Fault::answer(Route::Stow, status, "").effect;
        faults.add(Fault::in_turn(Route::Stow, [busy(503), busy(429), Effect::Hang {}]).every(2));
        faults.add(Fault::cut_body(Route::Stow, 1).every(3));
        let struck: Vec<Vec<Effect>> = (0..12).map(|_| faults.strike(&aim(Route::Stow))).collect();
        let cut = || Effect::CutBody { after_bytes: 1 };
        let expected = [
            vec![],
            vec![busy(503)],
            vec![cut()],
            vec![busy(429)],
            vec![],
            vec![Effect::Hang {}, cut()],
            vec![],
            vec![busy(503)],
            vec![cut()],
            vec![busy(429)],
            vec![],
            vec![Effect::Hang {}, cut()],
        ];
        assert_eq!(struck, expected);
    }
}
