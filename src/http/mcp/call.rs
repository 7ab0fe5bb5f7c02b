//! A call of a tool: checked by the tool's own action, served in bounded time, and written down as the
//! route of the HTTP API would be that does the same.

use super::serving::{Failed, Serving};
use super::{command, tools};
use crate::connections::HangUp;
use crate::http::audit;
use crate::http::caller::CallerApi;
use crate::mcp::{Tool, failed, succeeded};
use crate::protocol::Cause;
use actix_web::http::StatusCode;
use rmcp::model::{CallToolResult, JsonObject};
use serde_json::Value;

/// Calls a tool.
pub(super) async fn call(
    api: &CallerApi,
    (cause, hang_up): (Cause, HangUp),
    tool: Tool,
    arguments: JsonObject,
) -> CallToolResult {
    let api = api.doing(tool.action());
    let result = served(&api, (cause.clone(), hang_up), tool, arguments).await;
    let status = result.as_ref().map_or_else(|failed| failed.status, |_| StatusCode::OK);
    audit::note(&api.audit, &api.caller, &cause, status);
    match result {
        Ok(result) => succeeded(result),
        Err(Failed { refusal, .. }) => failed(&refusal),
    }
}

async fn served(
    api: &CallerApi,
    (cause, hang_up): (Cause, HangUp),
    tool: Tool,
    arguments: JsonObject,
) -> Result<Value, Failed> {
    let call = Serving::begin(api, cause)?;
    let done = async {
        match tool {
            Tool::SessionCreate => tools::create(&call, arguments).await,
            Tool::SessionList => tools::list(&call, arguments).await,
            Tool::SessionSend => tools::send(&call, arguments).await,
            Tool::SessionScreen => tools::screen(&call, arguments).await,
            Tool::SessionWait => tools::wait(&call, arguments).await,
            Tool::SessionEnd => tools::end(&call, arguments).await,
            Tool::CommandRun => command::run(&call, arguments).await,
        }
    };
    call.in_time(&hang_up, done).await
}
