//! `#[container_test]`: a test with real containers, once or in several variants.

use proc_macro::{Delimiter, Group, Ident, Spacing, TokenStream, TokenTree};

/// The ways in which a container comes about, for `#[container_test(ways)]`: all of `common::ways::Way`.
const WAYS: &str = "Empty, Copied, Hook, NoPivot, UserNamespace, Joined";

/// Makes a test of a function. It does nothing where no containers can be made, and says why.
///
/// With a list of variants, the function takes one as its only parameter, an enum, and each becomes a test of
/// its own: with `#[container_test(Root, UserNamespace)] fn name(variant: Variant)` there are the tests
/// `name::root` and `name::user_namespace`. The enum says by `is_possible` whether the machine has this
/// variant. `ways` stands for all of `Way`.
///
/// What is left of a container is no business of this attribute: a `TestBundle` looks for it when it is
/// dropped.
#[proc_macro_attribute]
pub fn container_test(variants: TokenStream, function: TokenStream) -> TokenStream {
    let Some(function) = Function::parse(function) else {
        return error("container_test: not a function with a body");
    };
    let variants = if variants.to_string() == "ways" { tokens(WAYS) } else { variants };
    let variants = variants.into_iter().filter_map(|token| match token {
        TokenTree::Ident(variant) => Some(variant),
        _ => None,
    });
    let variants: Vec<_> = variants.collect();
    match (&function.parameter, variants.as_slice()) {
        (None, []) => function.into_test(),
        (Some(kind), [_, ..]) => {
            let mut expanded = in_variants(&function.name, kind, &variants);
            expanded.extend(function.into_tokens());
            expanded
        }
        (None, _) => error("container_test: a function for variants takes one"),
        (Some(_), []) => error("container_test: a function with a parameter wants a list of variants"),
    }
}

/// A function, taken apart.
struct Function {
    /// All before the body: attributes, `fn`, the name and the parameters.
    head: Vec<TokenTree>,
    name: Ident,
    /// The type of its parameter, if it has one.
    parameter: Option<TokenStream>,
    body: Group,
}

impl Function {
    fn parse(function: TokenStream) -> Option<Self> {
        let mut head: Vec<_> = function.into_iter().collect();
        let Some(TokenTree::Group(body)) = head.pop() else { return None };
        let Some(TokenTree::Group(parameters)) = head.last() else { return None };
        let Some(TokenTree::Ident(name)) = head.iter().rev().nth(1) else { return None };
        let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Alone);
        let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
        let after = parameters.stream().into_iter().skip_while(|token| !is_colon(token)).skip(1);
        // rustfmt ends a parameter on a line of its own with a comma.
        let kind: TokenStream = after.take_while(|token| !is_comma(token)).collect();
        let parameter = if kind.is_empty() { None } else { Some(kind) };
        Some(Self { name: name.clone(), parameter, body, head })
    }

    fn into_tokens(self) -> TokenStream {
        self.head.into_iter().chain([TokenTree::Group(self.body)]).collect()
    }

    /// The function as a test, with a look at the machine before all else.
    fn into_test(mut self) -> TokenStream {
        let mut body = tokens("if !crate::common::can_make_containers() { return; }");
        body.extend(self.body.stream());
        let mut group = Group::new(Delimiter::Brace, body);
        group.set_span(self.body.span());
        self.body = group;
        let mut test = tokens("#[test]");
        test.extend(self.into_tokens());
        test
    }
}

/// A module with the function's name and a test for each variant.
fn in_variants(name: &Ident, kind: &TokenStream, variants: &[Ident]) -> TokenStream {
    let test = |variant: &Ident| {
        let (test, variant) = (snake_case(&variant.to_string()), format!("<{kind}>::{variant}"));
        format!(
            "#[test] fn {test}() {{
                if crate::common::can_make_containers() && {variant}.is_possible() {{ super::{name}({variant}); }}
            }}"
        )
    };
    let tests: String = variants.iter().map(test).collect();
    tokens(&format!("mod {name} {{ use super::*; {tests} }}"))
}

/// `UserNamespace` becomes `user_namespace`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Code of this crate's own, which is right.
fn tokens(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}

fn error(said: &str) -> TokenStream {
    tokens(&format!("compile_error!({said:?});"))
}
