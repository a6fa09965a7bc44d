//! A line as words, runs of digits and marks.

/// What a lexeme is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Digits,
    Mark,
}

/// A word, a run of digits, or one other character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexeme<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Whether a blank stands before it.
    pub(super) blank: bool,
    /// Where it begins in the line, in bytes.
    pub(super) at: usize,
}

impl Lexeme<'_> {
    pub(super) fn is_digits(&self) -> bool {
        self.kind == Kind::Digits
    }

    pub(super) fn is_word(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word && words.contains(&self.text)
    }

    pub(super) fn is_mark(&self, marks: &[char]) -> bool {
        self.kind == Kind::Mark && self.text.chars().all(|mark| marks.contains(&mark))
    }
}

/// The lexemes of a folded line.
pub(super) fn lexemes(line: &str) -> Vec<Lexeme<'_>> {
    let kind = |character: char| match character {
        digit if digit.is_ascii_digit() => Kind::Digits,
        letter if letter.is_alphabetic() => Kind::Word,
        _ => Kind::Mark,
    };
    let mut found: Vec<Lexeme<'_>> = Vec::new();
    let mut blank = true;
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == ' ' {
            blank = true;
            continue;
        }
        let is = kind(character);
        let mut end = at + character.len_utf8();
        while is != Kind::Mark
            && let Some((next, character)) =
                characters.next_if(|(_, character)| *character != ' ' && kind(*character) == is)
        {
            end = next + character.len_utf8();
        }
        found.push(Lexeme { kind: is, text: &line[at..end], blank, at });
        blank = false;
    }
    found
}
