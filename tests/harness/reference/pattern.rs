//! LIKE by trying all ways: `%` any characters, `_` one character, an escape before a literal.

/// Whether `text` matches `pattern`.
pub fn matches(text: &str, pattern: &str, escape: char, ignore_case: bool) -> bool {
    let fold = |s: &str| -> Vec<char> {
        if ignore_case { s.to_lowercase().chars().collect() } else { s.chars().collect() }
    };
    matches_from(&fold(text), &fold(pattern), escape)
}

fn matches_from(text: &[char], pattern: &[char], escape: char) -> bool {
    match pattern {
        [] => text.is_empty(),
        [e, literal, rest @ ..] if *e == escape => {
            text.first() == Some(literal) && matches_from(&text[1..], rest, escape)
        }
        ['%', rest @ ..] => (0..=text.len()).any(|skip| matches_from(&text[skip..], rest, escape)),
        ['_', rest @ ..] => !text.is_empty() && matches_from(&text[1..], rest, escape),
        [c, rest @ ..] => text.first() == Some(c) && matches_from(&text[1..], rest, escape),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_strings() {
        assert!(matches("special requests", "%special%requests%", '\\', false));
        assert!(!matches("special", "speci", '\\', false));
        assert!(matches("a%b", "a\\%b", '\\', false));
        assert!(!matches("axb", "a\\%b", '\\', false));
        assert!(matches("ABC", "a_c", '\\', true));
        assert!(matches("", "%", '\\', false));
    }
}
