//! How a program's connections are told which version of a schema is theirs.

use model::connection_string::{Uri, encode, pair, with_pairs};

/// The `search_path` of a version: its schema, then `own`, where the role looks by itself.
#[must_use]
pub fn of(schema: &str, own: &str) -> String {
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    match own.trim() {
        "" | "\"\"" => quoted,
        own => format!("{quoted}, {own}"),
    }
}

/// The option of libpq that sets a `search_path`, after those in `before`.
pub(crate) fn options(before: &str, path: &str) -> String {
    let mut options = before.trim().to_owned();
    if !options.is_empty() {
        options.push(' ');
    }
    options.push_str("-csearch_path=");
    for c in path.chars() {
        if c == '\\' || c.is_whitespace() {
            options.push('\\');
        }
        options.push(c);
    }
    options
}

/// A URL, or libpq's `key=value` form, whose connections have a `search_path`.
pub(crate) fn in_url(url: &str, path: &str) -> String {
    let Some(mut uri) = Uri::parse(url) else {
        let options = options(&pair(url, "options").unwrap_or_default(), path);
        return with_pairs(url, &[("options", &options)]);
    };
    let before = uri.take("options").unwrap_or_default();
    let option = format!("options={}", encode(&options(&before, path)));
    uri.query.push(&option);
    uri.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "\"public_02_split\", \"$user\", public";

    #[test]
    fn the_version_comes_first_and_the_roles_own_path_stays() {
        assert_eq!(of("public_02_split", "\"$user\", public"), PATH);
        assert_eq!(of("a\"b", ""), "\"a\"\"b\"");
    }

    #[test]
    fn urls_keep_what_they_say_and_get_an_option_more() {
        let option = "-csearch_path%3D%22public_02_split%22%2C%5C%20%22%24user%22%2C%5C%20public";
        for (url, wanted) in [
            (
                "postgres://u:p@h/d",
                format!("postgres://u:p@h/d?options={option}"),
            ),
            (
                "postgres://u:p@h/d?sslmode=require&options=-cwork_mem%3D8MB",
                format!("postgres://u:p@h/d?sslmode=require&options=-cwork_mem%3D8MB%20{option}"),
            ),
        ] {
            assert_eq!(in_url(url, PATH), wanted);
        }
    }

    #[test]
    fn a_password_that_holds_a_urls_sign_makes_no_url() {
        let url = "host=h password=a://b?c#d";
        let wanted = format!("{url} options='-csearch_path=v'");
        assert_eq!(in_url(url, "v"), wanted);
    }

    #[test]
    fn pairs_keep_their_options() {
        let url = "host=h password='it\\'s = x' options='-c work_mem=8MB' dbname=d";
        let wanted = "host=h password='it\\'s = x' options='-c work_mem=8MB' dbname=d \
            options='-c work_mem=8MB -csearch_path=v,\\\\ public'";
        assert_eq!(in_url(url, "v, public"), wanted);
    }

    #[test]
    fn blanks_in_a_path_are_escaped() {
        assert_eq!(
            options("-cx=1 ", "\"a b\\c\""),
            "-cx=1 -csearch_path=\"a\\ b\\\\c\""
        );
    }
}
