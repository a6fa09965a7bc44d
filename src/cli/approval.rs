//! `vendkey approval`.

use clap::{Args, Subcommand};

use super::{
    connection::{Connection, Named},
    output::{self, Failure},
};
use crate::api::v1::{
    Approval, ApproveRequest, GetApprovalRequest, ListApprovalsRequest, ListApprovalsResponse, RejectRequest,
    approval::State, approval_service_client::ApprovalServiceClient,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the acts that wait for more persons
    List(List),
    /// Show one, with the whole request that will be done
    Show(Named),
    /// Vote for an act; the last vote that it needs does it
    #[command(after_help = "Example: vendkey approval approve approvals/019ab3c4-...

It prints the act, and approves exactly what it printed: if it was changed meanwhile, the server refuses.")]
    Approve(Named),
    /// Vote against an act, which ends it; whoever asked for it takes it back so
    Reject(Named),
}

#[derive(Args)]
#[command(after_help = "Example: vendkey approval list --all")]
pub(super) struct List {
    /// Those that ended too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(Named { name, connection }) => {
                let mut client = ApprovalServiceClient::new(connection.open().await?);
                let found = client.get_approval(GetApprovalRequest { name }).await;
                let found = found.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, found.get_ref(), described)
            }
            Self::Approve(Named { name, connection }) => approve(name, &connection).await,
            Self::Reject(Named { name, connection }) => {
                let mut client = ApprovalServiceClient::new(connection.open().await?);
                let ended = client.reject(RejectRequest { name }).await;
                let ended = ended.map_err(Failure::refused(connection.json))?;
                output::show(connection.json, ended.get_ref(), described)
            }
        }
    }
}

/// Shows the act first, and binds the vote to what was shown.
async fn approve(name: String, connection: &Connection) -> Result<(), Failure> {
    let mut client = ApprovalServiceClient::new(connection.open().await?);
    let found = client.get_approval(GetApprovalRequest { name: name.clone() }).await;
    let found = found.map_err(Failure::refused(connection.json))?.into_inner();
    if !connection.json {
        output::print_text(found.summary).map_err(|failure| {
            failure.again(|| "nothing was approved: whoever approves an act reads it first".to_owned())
        })?;
    }
    let request = ApproveRequest { name, content_sha256: found.content_sha256 };
    let voted = client.approve(request).await.map_err(Failure::refused(connection.json))?.into_inner();
    if voted.state() == State::Failed {
        let failure = format!("approved, but it could not be done: {}", voted.outcome);
        output::show(connection.json, &voted, |_| String::new())?;
        return Err(Failure::text(failure));
    }
    output::show(connection.json, &voted, |voted| match voted.state() {
        State::Pending => format!("approved; {} missing", persons(voted.missing)),
        State::Done if voted.outcome.is_empty() => "approved, and done".to_owned(),
        State::Done => format!("approved, and done: {}", voted.outcome),
        State::Approved if !voted.outcome.is_empty() => {
            format!("approved; not done yet, the server goes on trying: {}", voted.outcome)
        }
        other => format!("approved; {}", in_words(other)),
    })
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let Self { all, connection } = self;
        let mut client = ApprovalServiceClient::new(connection.open().await?);
        let mut found = ListApprovalsResponse::default();
        loop {
            let request =
                ListApprovalsRequest { page_size: 0, page_token: found.next_page_token, ended: all };
            let page = client.list_approvals(request).await;
            let page = page.map_err(Failure::refused(connection.json))?.into_inner();
            found.approvals.extend(page.approvals);
            found.next_page_token = page.next_page_token;
            if found.next_page_token.is_empty() {
                break;
            }
        }
        output::show(connection.json, &found, |found| {
            let rows = found.approvals.iter().map(|approval| {
                let pending = approval.state() == State::Pending;
                let until = output::time(approval.expire_time.as_ref());
                [
                    approval.name.clone(),
                    in_words(approval.state()).to_owned(),
                    if pending { approval.missing.to_string() } else { String::new() },
                    approval.summary.clone(),
                    approval.requester_display_name.clone(),
                    if pending { until } else { String::new() },
                ]
            });
            output::table(["name", "state", "missing", "what will happen", "asked for by", "until"], rows)
        })
    }
}

fn described(approval: &Approval) -> String {
    let votes: Vec<String> = approval
        .votes
        .iter()
        .map(|vote| {
            let word = if vote.approves { "for it" } else { "against it" };
            format!("{} ({}) {word}, {}", vote.display_name, vote.client, output::time(vote.time.as_ref()))
        })
        .collect();
    let pending = approval.state() == State::Pending;
    output::fields([
        ("name", approval.name.clone()),
        ("state", in_words(approval.state()).to_owned()),
        ("what will happen", approval.summary.clone()),
        ("asked for by", format!("{} ({})", approval.requester_display_name, approval.requester)),
        ("votes", votes.join("; ")),
        ("missing", if pending { persons(approval.missing) } else { String::new() }),
        ("outcome", approval.outcome.clone()),
        ("call", approval.method.clone()),
        ("act", approval.act.clone()),
        ("content SHA-256", approval.content_sha256.clone()),
        ("asked for", output::time(approval.create_time.as_ref())),
        ("until", if pending { output::time(approval.expire_time.as_ref()) } else { String::new() }),
        ("last change", output::time(approval.update_time.as_ref())),
    ])
}

fn persons(count: u32) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} persons") }
}

fn in_words(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Pending => "pending",
        State::Approved => "being done",
        State::Done => "done",
        State::Failed => "failed",
        State::Rejected => "rejected",
        State::Expired => "expired",
    }
}
