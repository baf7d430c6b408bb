//! What one connected client may ask, and the answers.

use std::fmt::Display;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use slmscope_profiles::job::JobId;
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::wire::{
    Capability, ErrorCode, Hello, Method, Outcome, PROTOCOL, Submit, Talk, WireError,
};

use super::Daemon;
use super::rights::Rights;
use crate::clock;
use crate::error::with_sources;
use crate::hub::ClientId;
use crate::recorder::Recordings;
use crate::runner::{JobRequest, Submitter};

/// The answer to a request.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// A file that travels with it.
    pub(super) file: Option<OwnedFd>,
}

/// A connected client; it is disconnected when this is dropped.
pub(super) struct ClientSession {
    daemon: Arc<Daemon>,
    client: ClientId,
    rights: Rights,
    pid: Option<u32>,
}

impl ClientSession {
    pub(super) fn new(daemon: Arc<Daemon>, client: ClientId, rights: Rights, pid: Option<u32>) -> Self {
        daemon.runner.client_connected(pid);
        Self { daemon, client, rights, pid }
    }

    pub(super) fn hello(&self) -> Talk {
        let mut capabilities = vec![Capability::Read];
        if self.rights.submit {
            capabilities.push(Capability::Submit);
        }
        Talk::Hello(Hello {
            protocol: [PROTOCOL, PROTOCOL],
            version: crate::VERSION.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            capabilities,
            client_uid: Some(self.rights.uid),
            now_ns: Some(clock::now_ns()),
        })
    }

    /// Answers a request with which `files` came.
    pub(super) async fn answer(&self, method: Method, files: Vec<OwnedFd>) -> Answer {
        let mut file = None;
        let result = self.value(method, files, &mut file).await;
        Answer { outcome: result.map_or_else(Outcome::Error, Outcome::Ok), file }
    }

    /// The value of an answer, and into `file` what is to travel with it.
    async fn value(
        &self,
        method: Method,
        files: Vec<OwnedFd>,
        file: &mut Option<OwnedFd>,
    ) -> Result<Value, WireError> {
        let daemon = &self.daemon;
        match method {
            Method::Subscribe(subscribe) => {
                daemon.runner.with_jobs(|jobs| daemon.hub.subscribe(self.client, &subscribe, jobs));
                daemon.watched_changed();
                to_value(daemon.subscribed(&subscribe))
            }
            Method::Jobs {} => self.jobs().await,
            Method::Result(wanted) => self.result(wanted).await,
            Method::Status {} => self.status().await,
            Method::Doctor {} => self.doctor().await,
            Method::Submit(_) | Method::Cancel { .. } if !self.rights.submit => Err(WireError {
                code: ErrorCode::Forbidden,
                message: "only root, the daemon's user and members of group slmscope may run jobs".to_owned(),
                field: None,
            }),
            Method::Submit(submit) => self.submit(submit, files).await,
            Method::Cancel { job } => {
                daemon.runner.cancel(job, self.rights.uid).map_err(WireError::from).and_then(to_value)
            }
            Method::Sessions {} => {
                self.with_recordings(|recordings, _| Ok(json!({ "sessions": recordings.folder()?.list() })))
                    .await
            }
            Method::OpenSession(wanted) => {
                let (info, opened) = self.open_session(wanted).await?;
                *file = Some(opened);
                Ok(info)
            }
            Method::RemoveSession { session } => {
                let remove = move |recordings: &Recordings, uid| {
                    Ok(json!({ "bytes": recordings.folder()?.remove(session, uid)? }))
                };
                self.with_recordings(remove).await
            }
            Method::NoteSession { session, change } => {
                let note = move |recordings: &Recordings, uid| {
                    to_value(recordings.folder()?.note(session, uid, change)?)
                };
                self.with_recordings(note).await
            }
            Method::SaveRecent { seconds } => {
                let file = files.into_iter().next().map(File::from);
                let save =
                    move |recordings: &Recordings, uid| to_value(recordings.save_recent(seconds, file, uid)?);
                self.with_recordings(save).await
            }
        }
    }

    /// Opens a session for reading.
    async fn open_session(&self, wanted: Wanted) -> Result<(Value, OwnedFd), WireError> {
        self.with_recordings(move |recordings, uid| {
            let (info, file) = recordings.folder()?.open_session(&wanted, uid)?;
            Ok((to_value(info)?, OwnedFd::from(file)))
        })
        .await
    }

    /// Calls `work` with what is recorded and this client's user, on a thread that may wait for the disk.
    async fn with_recordings<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Recordings, u32) -> Result<T, WireError> + Send + 'static,
    ) -> Result<T, WireError> {
        let (recordings, uid) = (self.daemon.recordings.clone(), self.rights.uid);
        let done = tokio::task::spawn_blocking(move || work(&recordings, uid)).await;
        done.map_err(|error| internal(&error))?
    }

    /// The daemon's figures, for which the folder of sessions is listed.
    async fn status(&self) -> Result<Value, WireError> {
        let daemon = self.daemon.clone();
        let read = tokio::task::spawn_blocking(move || to_value(daemon.status())).await;
        read.map_err(|error| internal(&error))?
    }

    /// Reads every probe, which may take a second.
    async fn doctor(&self) -> Result<Value, WireError> {
        let worker = self.daemon.sampler.worker();
        let read = tokio::task::spawn_blocking(move || crate::doctor::doctor(None, worker)).await;
        let report = read.map_err(|error| internal(&error))?;
        report.map_err(|error| internal(&with_sources(&error))).and_then(to_value)
    }

    /// Checks a job and queues it. The check of a path lists a directory and reads an index of up to 64 MiB, and the job's
    /// number is stored.
    async fn submit(&self, submit: Submit, files: Vec<OwnedFd>) -> Result<Value, WireError> {
        let submitter = Submitter { client: self.client, uid: self.rights.uid, files };
        let request = JobRequest { submit, submitter };
        let daemon = self.daemon.clone();
        let submit = move || -> Result<JobId, WireError> {
            let request = daemon.runner.check(request, &daemon.config())?;
            Ok(daemon.runner.submit(request)?)
        };
        let job = tokio::task::spawn_blocking(submit).await.map_err(|error| internal(&error))??;
        Ok(json!({ "job": job }))
    }

    /// Lists jobs, and the folder of results.
    async fn jobs(&self) -> Result<Value, WireError> {
        let daemon = self.daemon.clone();
        let list = move || json!({ "jobs": daemon.runner.jobs(), "results": daemon.runner.kept_results() });
        tokio::task::spawn_blocking(list).await.map_err(|error| internal(&error))
    }

    /// Reads a result, of up to 3 MiB.
    async fn result(&self, wanted: Wanted) -> Result<Value, WireError> {
        let (daemon, uid) = (self.daemon.clone(), self.rights.uid);
        let read = move || to_value(daemon.runner.result(&wanted, uid)?);
        tokio::task::spawn_blocking(read).await.map_err(|error| internal(&error))?
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        self.daemon.hub.disconnect(self.client);
        self.daemon.runner.client_left(self.client, self.pid);
        self.daemon.watched_changed();
    }
}

fn to_value(answer: impl Serialize) -> Result<Value, WireError> {
    serde_json::to_value(answer).map_err(|error| internal(&error))
}

fn internal(error: &dyn Display) -> WireError {
    WireError { code: ErrorCode::Internal, message: error.to_string(), field: None }
}
