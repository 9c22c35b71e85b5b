//! The provider's status words (ozonetel.md 3.2), read without regard to how they are written: `not_answered`,
//! `NotAnswered` and `Not Answered` are one word.

/// Whether `AgentStatus` of one link says that the agent answered; `None` for a word that says neither.
pub(super) fn answered(word: &str) -> Option<bool> {
    match plain(word).as_str() {
        "answered" => Some(true),
        "notanswered" | "notdialed" | "invalidnumber" => Some(false),
        _ => None,
    }
}

/// Whether `DialStatus`, a word for each leg, says that anybody answered; `None` where it says nothing.
pub(super) fn dial_answered(chain: &str) -> Option<bool> {
    let mut said = false;
    for link in chain.split("->").map(plain).filter(|link| !link.is_empty()) {
        if link == "answered" {
            return Some(true);
        }
        said = true;
    }
    said.then_some(false)
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_however_it_is_written() {
        for word in ["not_answered", "NotAnswered", "Not Answered", "NotDialed"] {
            assert_eq!(answered(word), Some(false), "{word}");
        }
        assert_eq!(answered("Answered"), Some(true));
        assert_eq!(answered("NormalUnspecified"), None);
    }

    #[test]
    fn a_chain_of_dial_statuses_is_answered_where_one_is() {
        assert_eq!(dial_answered("NormalUnspecified -> answered"), Some(true));
        assert_eq!(dial_answered("not_answered -> ring"), Some(false));
        assert_eq!(dial_answered(" -> "), None);
    }
}
