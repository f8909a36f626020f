//! How many threads decode. A step reads every weight once, and where few threads take all that the
//! memory gives, more of them are in each other's way: on a Raspberry Pi 5 two are faster than four.
//!
//! So a session times its steps, tries now and then a few with another number of threads, and
//! settles on the fastest. Minima are compared, because other programs only ever make a step
//! longer. A number of threads that turns out slower is given up when half a step is lost on it, so
//! that trying costs less than 1 % where all threads are best.

/// Steps before the first look: the first ones find weights that are not in memory yet.
const FIRST_LOOK: u32 = 8;

/// Steps between a look that changed something and the next one.
const AFTER_CHANGE: u32 = 64;

/// Least and most steps after a look that changed nothing; in between they double.
const AFTER_NO_CHANGE: [u32; 2] = [256, 1024];

/// Steps after which a look comes early if steps take another time than when the last one ended.
const EARLY: u32 = 128;

/// Steps with the number of threads that is tried; after every second one comes one as before.
const TRIED: u32 = 4;

/// Steps whose shortest is compared with.
const RECENT: usize = 8;

/// The choice of a number of threads. Time comes in nanoseconds, but any unit will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    most: usize,
    choice: usize,
    /// The last steps with the chosen number.
    recent: [u64; RECENT],
    /// The shortest of them when the last look ended.
    settled: u64,
    /// Steps since the last look.
    since: u32,
    /// Steps between the last look and the next one.
    interval: u32,
    look: Option<Look>,
}

/// A number of threads is tried.
#[derive(Clone, Copy, Debug)]
struct Look {
    towards: Towards,
    threads: usize,
    /// Steps of this trial, those as before included.
    steps: u32,
    /// The shortest step.
    best: u64,
    /// The choice has changed since the look began.
    changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Towards {
    Fewer,
    More,
}

enum Verdict {
    Faster,
    Same,
    Slower,
}

impl Pace {
    /// All of `most` threads, until something else is known to be faster.
    pub fn new(most: usize) -> Pace {
        let [interval, _] = AFTER_NO_CHANGE;
        Pace {
            most,
            choice: most,
            recent: [u64::MAX; RECENT],
            settled: u64::MAX,
            since: 0,
            interval: interval / 2,
            look: None,
        }
    }

    /// Threads for the next step.
    pub fn threads(&self) -> usize {
        match &self.look {
            Some(look) if !look.is_as_before() => look.threads,
            _ => self.choice,
        }
    }

    /// The number that was settled on.
    pub fn choice(&self) -> usize {
        self.choice
    }

    /// The step took so long.
    pub fn took(&mut self, time: u64) {
        match self.look {
            None => {
                self.remember(time);
                self.since = self.since.saturating_add(1);
                if self.is_time_to_look() {
                    self.begin(Towards::Fewer, self.choice, false);
                }
            }
            Some(look) if look.is_as_before() => {
                self.remember(time);
                self.look = Some(Look { steps: look.steps + 1, ..look });
            }
            Some(look) => self.tried(look, time),
        }
    }

    fn remember(&mut self, time: u64) {
        self.recent.rotate_left(1);
        self.recent[RECENT - 1] = time;
    }

    /// The shortest of the last steps with the chosen number.
    fn shortest(&self) -> u64 {
        self.recent.into_iter().fold(u64::MAX, u64::min)
    }

    fn is_time_to_look(&self) -> bool {
        let is_first = self.settled == u64::MAX;
        let (now, then) = (self.shortest(), self.settled);
        // The context has grown, or another program has come or gone.
        let is_another = now.abs_diff(then) > then / 4;
        match is_first {
            true => self.since >= FIRST_LOOK,
            false => self.since >= self.interval || self.since >= EARLY && is_another,
        }
    }

    /// Tries the number next to `threads`, if there is one, or else what is left to try.
    fn begin(&mut self, towards: Towards, threads: usize, changed: bool) {
        let up = |threads| more(threads, self.most).map(|threads| (Towards::More, threads));
        let next = match towards {
            Towards::Fewer => {
                let down = fewer(threads).map(|threads| (Towards::Fewer, threads));
                down.or_else(|| up(self.choice).filter(|_| !changed))
            }
            Towards::More => up(threads),
        };
        match next {
            Some((towards, threads)) => {
                self.look = Some(Look { towards, threads, steps: 0, best: u64::MAX, changed });
            }
            None => self.settle(changed),
        }
    }

    /// Nothing is left to try in this direction.
    fn turn(&mut self, towards: Towards, changed: bool) {
        match towards {
            Towards::Fewer if !changed => self.begin(Towards::More, self.choice, changed),
            _ => self.settle(changed),
        }
    }

    /// Nothing is left to try.
    fn settle(&mut self, changed: bool) {
        let [least, most] = AFTER_NO_CHANGE;
        self.interval = match changed {
            true => AFTER_CHANGE,
            false => self.interval.saturating_mul(2).clamp(least, most),
        };
        (self.look, self.since, self.settled) = (None, 0, self.shortest());
    }

    /// A step with the number that is tried.
    fn tried(&mut self, mut look: Look, time: u64) {
        let before = self.shortest();
        look.best = look.best.min(time);
        look.steps += 1;
        let tried = look.steps - look.steps / 3;
        // A second chance: the first step may have been disturbed, or the threads came from sleep.
        // One thread in place of two may cost as much as a whole step, and has none.
        let may_end = tried > 1 || look.threads == 1;
        let lost = look.best.saturating_sub(before).saturating_mul(tried.into());
        let verdict = if may_end && lost > before / 2 {
            Verdict::Slower
        } else if tried < TRIED {
            self.look = Some(look);
            return;
        } else {
            compare(look.best, before)
        };
        match verdict {
            Verdict::Faster => {
                self.choice = look.threads;
                self.recent = [look.best; RECENT];
                self.begin(look.towards, look.threads, true);
            }
            // Perhaps a hill lies behind the plain.
            Verdict::Same if look.towards == Towards::Fewer => {
                self.begin(look.towards, look.threads, look.changed);
            }
            Verdict::Same | Verdict::Slower => self.turn(look.towards, look.changed),
        }
    }
}

impl Look {
    /// Whether the next step is one with the chosen number: what has changed since the look began,
    /// has changed for both.
    fn is_as_before(&self) -> bool {
        self.steps % 3 == 2
    }
}

/// Faster or slower by 3 %: less is not worth a change.
fn compare(tried: u64, before: u64) -> Verdict {
    let percent = before / 100;
    if tried < before - 3 * percent {
        Verdict::Faster
    } else if tried <= before.saturating_add(3 * percent) {
        Verdict::Same
    } else {
        Verdict::Slower
    }
}

/// The next smaller number that is worth a trial: of many threads, one less makes no difference that
/// could be seen.
fn fewer(threads: usize) -> Option<usize> {
    (threads > 1).then(|| threads * 3 / 4)
}

/// The number from which [`fewer`] leads here, on its way down from `most`.
fn more(threads: usize, most: usize) -> Option<usize> {
    core::iter::successors(Some(most), |&n| fewer(n)).take_while(|&n| n > threads).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nanoseconds of a step that reads 100 MB at so many GB/s.
    fn step(rate: f64) -> f64 {
        1e8 / rate
    }

    struct Simulated {
        pace: Pace,
        took: f64,
    }

    impl Simulated {
        fn new(most: usize) -> Self {
            Simulated { pace: Pace::new(most), took: 0.0 }
        }

        /// `time(threads, step)`
        fn run(&mut self, steps: usize, mut time: impl FnMut(usize, usize) -> f64) -> usize {
            for i in 0..steps {
                let time = time(self.pace.threads(), i);
                self.took += time;
                self.pace.took(time as u64);
            }
            self.pace.choice()
        }
    }

    /// Random numbers from 0 to 1.
    fn random(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 40) as f64 / (1 << 24) as f64
    }

    const PI5: [f64; 4] = [9.3, 13.2, 12.5, 11.6];

    #[test]
    fn a_pi_5_settles_on_two_threads_and_stays_there() {
        let mut machine = Simulated::new(4);
        let time = |threads: usize, _| step(PI5[threads - 1]);
        assert_eq!(machine.run(32, time), 2);
        assert_eq!(machine.run(10_000, time), 2);
        assert!(machine.took < 1.01 * 10_032.0 * step(13.2), "{}", machine.took);
    }

    #[test]
    fn where_all_threads_are_best_trying_costs_a_hundredth() {
        for most in [1, 2, 3, 4, 6, 8, 16, 64, 255] {
            for steps in [128, 512, 10_000] {
                let mut machine = Simulated::new(most);
                let time = |threads: usize, _| step(threads as f64);
                assert_eq!(machine.run(steps, time), most);
                let least = steps as f64 * step(most as f64);
                assert!(machine.took <= 1.01 * least, "{most}, {steps}: {}", machine.took / least);
            }
        }
    }

    /// All of the memory's speed is there for three threads of sixteen.
    #[test]
    fn a_hill_behind_a_plain_is_found() {
        let rate = |threads: usize| match threads {
            1..=3 => 10.0 * threads as f64,
            4..=6 => 29.0,
            _ => 25.0,
        };
        let mut machine = Simulated::new(16);
        let choice = machine.run(300, |threads, _| step(rate(threads)));
        assert_eq!(choice, 3);
    }

    #[test]
    fn where_all_are_the_same_nothing_changes() {
        let mut machine = Simulated::new(4);
        let mut seed = 1;
        let time = |_, _| step(10.0) * (1.0 + 0.02 * random(&mut seed));
        assert_eq!(machine.run(5_000, time), 4);
    }

    /// Every fifth step is disturbed, every step is a little longer than the last.
    #[test]
    fn noise_does_not_matter() {
        for seed in 1..50 {
            let (mut seed, mut machine) = (seed, Simulated::new(4));
            let mut wrong = 0;
            machine.run(5_000, |threads, i| {
                wrong += usize::from(i > 1000 && threads != 2);
                let disturbed = random(&mut seed) < 0.2;
                let noise = if disturbed { 2.0 * random(&mut seed) } else { 0.0 };
                let grown = 1.0 + i as f64 / 5_000.0;
                step(PI5[threads - 1]) * grown * (1.0 + 0.01 * random(&mut seed) + noise)
            });
            assert!(wrong <= 30, "seed {seed}: {wrong}");
        }
    }

    /// With few threads because of another program; then that one ends.
    #[test]
    fn when_the_machine_changes_the_choice_does() {
        let mut machine = Simulated::new(4);
        assert_eq!(machine.run(1000, |threads, _| step(PI5[threads - 1])), 2);
        assert_eq!(machine.run(1100, |threads, _| step(5.0 * threads as f64)), 4);
        assert_eq!(machine.run(1100, |threads, _| step(PI5[threads - 1])), 2);
    }

    #[test]
    fn numbers_of_threads_that_are_tried() {
        let down: std::vec::Vec<_> = core::iter::successors(Some(16), |&n| fewer(n)).collect();
        assert_eq!(down, [16, 12, 9, 6, 4, 3, 2, 1]);
        for pair in down.windows(2) {
            assert_eq!(more(pair[1], 16), Some(pair[0]));
        }
        assert_eq!([more(16, 16), more(1, 1), more(2, 3)], [None, None, Some(3)]);
    }

    #[test]
    fn a_clock_that_stands_still_does_no_harm() {
        let mut machine = Simulated::new(4);
        assert_eq!(machine.run(1000, |_, _| 0.0), 4);
        assert_eq!(machine.run(1000, |_, _| u64::MAX as f64), 4);
    }
}
