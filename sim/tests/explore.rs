//! Exhaustive search of small worlds. For larger ones use `sim explore`.

use sim::explore::check::Check;
use sim::explore::scope::{Rule, Scope};
use sim::explore::search::{Limits, Report, search};

#[test]
fn a_tiny_world_closes_and_two_threads_see_the_same_of_it() {
    let scope = Scope { messages: vec![1, 1], ..Scope::tiny() };
    let searched = |jobs| {
        let report = search(&scope, Limits { jobs, observe: true, ..Limits::NONE }, &|| {}, &mut |_| {});
        assert!(report.closed, "{:?}", report.found);
        report
    };
    let report = searched(1);
    assert!(report.states > 2000 && report.recoveries > 50, "{} states", report.states);
    let seen = |r: Report| (r.states, r.transitions, r.endings, r.observed);
    assert_eq!(seen(searched(2)), seen(report));
}

#[test]
fn a_tiny_world_looks_the_same_without_each_of_the_rules() {
    for rule in Rule::ALL {
        let check = Check::of(rule, &Scope { redeliveries: 1, ..Scope::tiny() });
        assert!(check.with.closed && check.holds(), "{}", rule.name());
        assert!(check.does_something(), "{}", rule.name());
    }
}
