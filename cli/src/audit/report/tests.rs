use super::*;

#[test]
fn cells_are_quoted_and_never_a_formula() {
    for (cell, written) in [
        ("plain", "plain"),
        ("a,b", "\"a,b\""),
        ("say \"no\"", "\"say \"\"no\"\"\""),
        ("=1+1", "'=1+1"),
        ("-", "'-"),
        ("", ""),
    ] {
        assert_eq!(csv_cell(cell), written);
    }
}

#[test]
fn a_long_line_is_thinned_and_ends_where_it_stands() {
    let mut line = Line::default();
    let cost = consilium_privacy::Cost::zcdp(1e-6).unwrap();
    for at_ms in 0..10_000 {
        line.account.add(&cost);
        line.point(at_ms, 1e-6);
    }
    let drawn = line.drawn(1e-6);
    assert!(drawn.len() <= POINTS_MAX + 1);
    assert!(drawn.is_sorted_by(|(_, before), (_, after)| before <= after));
    assert_eq!(drawn.last().unwrap().1, line.account.epsilon(1e-6));
}
