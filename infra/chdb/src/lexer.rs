//! ClickHouse's tokens, as far as they must be known to find where a statement's parts begin.
//!
//! It works on bytes, stops where it is told, and never looks behind the FORMAT of an INSERT: what follows there is
//! data, of any bytes. It decides nothing about meaning.

/// One token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// The token's bytes as written.
    pub(crate) text: &'a [u8],
    /// Where it starts in the input.
    pub(crate) start: usize,
    /// How many brackets are open around it.
    pub(crate) depth: usize,
}

/// Kinds of tokens that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word: keyword, name, function.
    Word,
    /// A name in backticks or double quotes.
    QuotedName,
    /// A text literal: quotes or heredoc.
    Text,
    /// A number.
    Number,
    /// `;`
    Semicolon,
    /// Any other single byte.
    Other,
}

impl Token<'_> {
    /// Where it ends in the input.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword, in any letter case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// The name that a word or quoted name stands for, in lower case; `None` for anything else.
    pub(crate) fn name(&self) -> Option<String> {
        let inner = match self.kind {
            Kind::Word => self.text,
            Kind::QuotedName => self.text.get(1..self.text.len().saturating_sub(1)).unwrap_or_default(),
            Kind::Text | Kind::Number | Kind::Semicolon | Kind::Other => return None,
        };
        Some(String::from_utf8_lossy(inner).to_ascii_lowercase())
    }
}

/// Walks the tokens of a text, leaving out white space and comments.
pub(crate) struct Lexer<'a> {
    input: &'a [u8],
    position: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0, depth: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.position..).unwrap_or_default()
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let length = match rest {
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => 1,
                // A no-break space, as pasted from documents, and a byte-order mark.
                [0xc2, 0xa0, ..] => 2,
                [0xef, 0xbb, 0xbf, ..] => 3,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => {
                    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |newline| newline + 1)
                }
                [b'/', b'*', ..] => find(rest.get(2..).unwrap_or_default(), b"*/").map_or(rest.len(), |end| end + 4),
                _ => return,
            };
            self.position += length;
        }
    }

    /// The length of a quoted text that starts here; a doubled quote and a backslash keep it open.
    fn quoted(&self, quote: u8) -> usize {
        let rest = self.rest();
        let mut index = 1;
        while let Some(byte) = rest.get(index) {
            match *byte {
                b'\\' => index += 1,
                found if found == quote => {
                    if rest.get(index + 1) != Some(&quote) {
                        return index + 1;
                    }
                    index += 1;
                }
                _ => {}
            }
            index += 1;
        }
        rest.len()
    }

    /// The length of a heredoc, `$tag$ … $tag$`, if one starts here.
    fn heredoc(&self) -> Option<usize> {
        let rest = self.rest();
        let tag_end = rest.iter().skip(1).position(|byte| !is_word(*byte) || *byte == b'$')? + 1;
        let tag = rest.get(..=tag_end).filter(|tag| tag.ends_with(b"$"))?;
        let body = rest.get(tag.len()..)?;
        Some(find(body, tag).map_or(rest.len(), |end| tag.len() + end + tag.len()))
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_space_and_comments();
        let rest = self.rest();
        let first = *rest.first()?;
        let mut depth = self.depth;
        let (kind, length) = match first {
            b'\'' => (Kind::Text, self.quoted(first)),
            b'"' | b'`' => (Kind::QuotedName, self.quoted(first)),
            b'$' => self.heredoc().map_or((Kind::Other, 1), |length| (Kind::Text, length)),
            b'0'..=b'9' => {
                (Kind::Number, rest.iter().position(|byte| !is_word(*byte) && *byte != b'.').unwrap_or(rest.len()))
            }
            byte if is_word(byte) => (Kind::Word, rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())),
            b';' => (Kind::Semicolon, 1),
            b'(' | b'[' | b'{' => {
                self.depth += 1;
                (Kind::Other, 1)
            }
            b')' | b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                depth = self.depth;
                (Kind::Other, 1)
            }
            _ => (Kind::Other, 1),
        };
        let start = self.position;
        self.position += length.min(rest.len());
        Some(Token { kind, text: self.input.get(start..self.position).unwrap_or_default(), start, depth })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
