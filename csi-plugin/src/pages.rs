//! Lists in pages. A token is the last name of the page before, marked as one of ours.

use tonic::Status;

use crate::names::is_name;

/// Entries on a page of whoever takes as many as there are: an answer has to fit a message of 4 MiB.
pub(crate) const ENTRIES_MAX: usize = 5000;

/// Which page is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    /// Behind this name; empty for the first page.
    pub after: String,
    /// At most so many.
    pub entries: usize,
}

impl Page {
    /// # Errors
    /// `INVALID_ARGUMENT` for a negative number, `ABORTED` for a token that is none of ours.
    pub fn parse(mark: &str, max_entries: i32, starting_token: &str) -> Result<Self, Status> {
        let asked = usize::try_from(max_entries)
            .map_err(|_| Status::invalid_argument(format!("max_entries is {max_entries}: it is 0 or more")))?;
        let after = match starting_token {
            "" => String::new(),
            token => {
                let after = token.strip_prefix(mark).and_then(|rest| rest.strip_prefix(':'));
                let refuse = || Status::aborted("starting_token is none that this plugin gave: begin without one");
                after.filter(|after| is_name(after)).ok_or_else(refuse)?.to_owned()
            }
        };
        let entries = if asked == 0 { ENTRIES_MAX } else { asked.min(ENTRIES_MAX) };
        Ok(Self { after, entries })
    }
}

/// The token of the page behind this name.
pub(crate) fn token(mark: &str, last: &str) -> String {
    format!("{mark}:{last}")
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::{ENTRIES_MAX, Page, token};

    #[test]
    fn only_tokens_of_the_same_list_lead_on() {
        let page = |entries, token: &str| Page::parse("v", entries, token);
        assert_eq!(page(0, "").unwrap(), Page { after: String::new(), entries: ENTRIES_MAX });
        assert_eq!(page(3, &token("v", "db")).unwrap(), Page { after: "db".to_owned(), entries: 3 });
        for wrong in ["invalid-token", "db", "s:db", "v:", "v:A B"] {
            assert_eq!(page(0, wrong).unwrap_err().code(), Code::Aborted, "{wrong}");
        }
        assert_eq!(page(-1, "").unwrap_err().code(), Code::InvalidArgument);
    }
}
