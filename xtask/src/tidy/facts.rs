//! One walk over the syntax of every Rust file, gathering what the checks ask about.

use super::files::{Repository, TextFile, is_test_path};
use crate::error::Error;
use quote::ToTokens;
use std::path::PathBuf;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// What one file says.
#[derive(Debug, Default)]
pub struct Facts {
    /// Which file.
    pub path: PathBuf,
    /// Lines up to the inline tests.
    pub lines: usize,
    /// Whether it opens with `//!`.
    pub documented: bool,
    /// Functions with a body.
    pub functions: Vec<Function>,
    /// Lines of `.clone()` outside tests.
    pub clones: Vec<usize>,
    /// Lines where control flow compares text, outside tests.
    pub string_control_flow: Vec<usize>,
    /// Traits outside tests.
    pub traits: Vec<Trait>,
    /// Last names of the traits implemented outside tests.
    pub implemented: Vec<String>,
    /// Names of types, functions and modules, with their lines.
    pub names: Vec<(String, usize)>,
    /// Modules without a body here.
    pub modules: Vec<Module>,
}

/// A function with a body.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Of its `fn`.
    pub line: usize,
    /// From `fn` to the closing brace.
    pub lines: usize,
    /// Of its body alone.
    pub body_lines: usize,
    /// Its body as tokens.
    pub body: String,
}

/// A trait and whether a reason stands above it.
#[derive(Debug)]
pub struct Trait {
    /// Its name.
    pub name: String,
    /// Of the `trait`.
    pub line: usize,
    /// `// seam: reason` above it.
    pub seam: bool,
}

/// A `mod name;`.
#[derive(Debug)]
pub struct Module {
    /// Names of the inline modules around it, then its own.
    pub names: Vec<String>,
    /// `#[path = "..."]`.
    pub path: Option<String>,
}

/// Reads all Rust files.
pub fn gather(repository: &Repository) -> Result<Vec<Facts>, Error> {
    repository.rust.iter().map(of).collect()
}

/// Reads one.
pub fn of(file: &TextFile) -> Result<Facts, Error> {
    let tree = syn::parse_file(&file.text).map_err(|source| Error::Rust {
        path: file.path.clone(),
        line: source.span().start().line,
        source,
    })?;
    let mut walk = Walk {
        facts: Facts {
            path: file.path.clone(),
            lines: lines_before_tests(&file.text),
            documented: file.text.lines().any(|line| line.starts_with("//!")),
            ..Facts::default()
        },
        text: file.text.lines().collect(),
        test: is_test_path(&file.path),
        inside: Vec::new(),
        reader: false,
    };
    walk.visit_file(&tree);
    Ok(walk.facts)
}

fn lines_before_tests(text: &str) -> usize {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

struct Walk<'a> {
    facts: Facts,
    text: Vec<&'a str>,
    test: bool,
    inside: Vec<String>,
    /// Inside a function whose charge is to turn text into a value.
    reader: bool,
}

impl Walk<'_> {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let start = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        let open = block.brace_token.span.open().start().line;
        self.facts.names.push((signature.ident.to_string(), start));
        self.facts.functions.push(Function {
            name: signature.ident.to_string(),
            line: start,
            lines: end - start + 1,
            body_lines: (end - open).saturating_sub(1),
            body: block.to_token_stream().to_string(),
        });
    }

    fn seam_above(&self, line: usize) -> bool {
        let above = self.text[..line - 1].iter().rev();
        let mut notes = above.take_while(|line| {
            let line = line.trim_start();
            line.starts_with("//") || line.starts_with("#[")
        });
        notes.any(|line| line.trim_start().strip_prefix("// seam:").is_some_and(|why| why.trim().len() > 3))
    }

    fn text_compared(&mut self, line: usize) {
        if !self.test && !self.reader {
            self.facts.string_control_flow.push(line);
        }
    }

    fn within(&mut self, attributes: &[syn::Attribute], name: &str, go: impl FnOnce(&mut Self)) {
        let before = (self.test, self.reader);
        self.test |= is_test(attributes);
        self.reader |= reads_text(name);
        go(self);
        (self.test, self.reader) = before;
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string();
        text.contains("test") && (attribute.path().is_ident("cfg") || text.ends_with("test"))
    })
}

/// Turning outside text into a value has to look at text; what is counted is deciding by text elsewhere.
fn reads_text(function: &str) -> bool {
    let words = ["parse", "from_str", "read", "visit", "deserialize", "lex", "token", "decode"];
    words.iter().any(|word| function.contains(word))
}

/// A literal with a word in it. Marks such as `-`, `.` and `..` are the syntax of paths and flags, not names of things.
fn is_word(literal: &syn::Lit) -> bool {
    matches!(literal, syn::Lit::Str(text) if text.value().contains(char::is_alphabetic))
}

fn is_text(expression: &syn::Expr) -> bool {
    matches!(expression, syn::Expr::Lit(literal) if is_word(&literal.lit))
}

/// Whether an arm only says which value a word stands for: a table, not a decision.
fn is_value(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Path(_) | syn::Expr::Lit(_) => true,
        syn::Expr::Reference(inner) => is_value(&inner.expr),
        syn::Expr::Paren(inner) => is_value(&inner.expr),
        syn::Expr::Tuple(parts) => parts.elems.iter().all(is_value),
        syn::Expr::Array(parts) => parts.elems.iter().all(is_value),
        syn::Expr::Call(call) => is_constructor(&call.func) && call.args.iter().all(is_value),
        syn::Expr::Struct(fields) => fields.fields.iter().all(|field| is_value(&field.expr)),
        syn::Expr::MethodCall(call) => call.args.is_empty() && is_value(&call.receiver),
        syn::Expr::Block(block) => match block.block.stmts.as_slice() {
            [syn::Stmt::Expr(only, None)] => is_value(only),
            _ => false,
        },
        _ => false,
    }
}

fn is_constructor(function: &syn::Expr) -> bool {
    let syn::Expr::Path(path) = function else { return false };
    let last = path.path.segments.last().map(|segment| segment.ident.to_string());
    last.is_some_and(|name| name.starts_with(char::is_uppercase))
}

fn matches_text(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Lit(literal) => is_word(&literal.lit),
        syn::Pat::Or(any) => any.cases.iter().any(matches_text),
        syn::Pat::Tuple(tuple) => tuple.elems.iter().any(matches_text),
        syn::Pat::TupleStruct(tuple) => tuple.elems.iter().any(matches_text),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        self.within(&item.attrs, &item.sig.ident.to_string(), |walk| visit::visit_item_fn(walk, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        self.within(&item.attrs, &item.sig.ident.to_string(), |walk| visit::visit_impl_item_fn(walk, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        self.within(&item.attrs, &item.sig.ident.to_string(), |walk| visit::visit_trait_item_fn(walk, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        self.facts.names.push((name.clone(), item.ident.span().start().line));
        self.inside.push(name);
        if item.content.is_none() {
            let path = item.attrs.iter().find(|attribute| attribute.path().is_ident("path"));
            let path = path.and_then(|attribute| match &attribute.meta {
                syn::Meta::NameValue(pair) => match &pair.value {
                    syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            });
            self.facts.modules.push(Module { names: self.inside.clone(), path });
        }
        self.within(&item.attrs, "", |walk| visit::visit_item_mod(walk, item));
        self.inside.pop();
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if !self.test {
            let line = item.trait_token.span.start().line;
            self.facts.traits.push(Trait { name: item.ident.to_string(), line, seam: self.seam_above(line) });
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some((path, _)) = &item.trait_
            && let Some(last) = path.segments.last()
            && !self.test
        {
            self.facts.implemented.push(last.ident.to_string());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.facts.names.push((item.ident.to_string(), item.ident.span().start().line));
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.facts.names.push((item.ident.to_string(), item.ident.span().start().line));
        visit::visit_item_enum(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "clone" && !self.test {
            self.facts.clones.push(call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        let mut found = ComparesText::default();
        found.visit_expr(&branch.cond);
        if let Some(line) = found.line {
            self.text_compared(line);
        }
        visit::visit_expr_if(self, branch);
    }

    fn visit_expr_match(&mut self, branch: &'ast syn::ExprMatch) {
        if branch.arms.iter().any(|arm| matches_text(&arm.pat) && !is_value(&arm.body)) {
            self.text_compared(branch.match_token.span.start().line);
        }
        visit::visit_expr_match(self, branch);
    }
}

/// Finds `a == "text"` and `a != "text"`.
#[derive(Default)]
struct ComparesText {
    line: Option<usize>,
}

impl<'ast> Visit<'ast> for ComparesText {
    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let equality = matches!(binary.op, syn::BinOp::Eq(_) | syn::BinOp::Ne(_));
        if equality && (is_text(&binary.left) || is_text(&binary.right)) {
            self.line.get_or_insert(binary.span().start().line);
        }
        visit::visit_expr_binary(self, binary);
    }
}
