//! Forms of pages: read within the limits of all bodies, and only from the pages of the one who sends them.

use super::Oops;
use super::session::Visitor;
use crate::api::Shared;
use crate::api::extract::Whole;
use crate::api::types::Problem;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// Content type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form as they came.
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field without the spaces around it; empty when it did not come.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// A field as it came.
    #[must_use]
    pub fn whole(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A number, where one came.
    ///
    /// # Errors
    /// 422 when it is something else.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_why| {
                Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "bad_field",
                    format!("{name} is a whole number"),
                )
                .at(name)
            }),
        }
    }
}

impl FromRequest<Shared> for Fields {
    type Rejection = Oops;
    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Oops> {
        let Whole { content_type, bytes } = Whole::from_request(request, shared).await?;
        if content_type != FORM {
            let code = "bad_content_type";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                code,
                "only forms are understood here",
            )
            .into());
        }
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }
}

/// A form that carries its sender's own token against forgery, with its sender.
pub struct Signed {
    /// Who sent it.
    pub visitor: Visitor,
    /// What is in it.
    pub fields: Fields,
}

impl FromRequest<Shared> for Signed {
    type Rejection = Oops;
    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Oops> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, shared).await?;
        let fields = Fields::from_request(Request::from_parts(parts, body), shared).await?;
        let brought = fields.get("csrf");
        if brought.len() == visitor.csrf.len()
            && bool::from(brought.as_bytes().ct_eq(visitor.csrf.as_bytes()))
        {
            return Ok(Self { visitor, fields });
        }
        let problem =
            Problem::new(StatusCode::FORBIDDEN, "csrf", "this form is not from a page of your session");
        Err(problem.with_next("load the page again and repeat it").into())
    }
}
