//! The other supervisors, set up as their documentation advises.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::supervisor::Job;

/// Logs of the processes go to files of their own, as is its default.
pub(crate) fn supervisord(job: &Job) -> Command {
    let at = job.directory.display();
    let config = format!(
        "[supervisord]
nodaemon=true
pidfile={at}/supervisord.pid
logfile={log}
logfile_maxbytes=0
childlogdir={at}
minfds=8192
{programs}",
        log = job.log.display(),
        programs = if job.processes == 0 {
            String::new()
        } else {
            format!(
                "[program:subject]\ncommand={}\nnumprocs={}\nprocess_name=p%(process_num)d\nautorestart=true\n",
                job.command.join(" "),
                job.processes
            )
        }
    );
    let path = job.directory.join("supervisord.conf");
    write(&path, &config);
    let mut command = Command::new("supervisord");
    command.arg("-c").arg(path);
    command
}

/// Without a logger for each service: what they print goes to the log of all.
pub(crate) fn s6(job: &Job) -> Command {
    let mut command = Command::new("s6-svscan");
    command.args(["-c", "1000"]).arg(services(job));
    command
}

/// As [`s6`].
pub(crate) fn runit(job: &Job) -> Command {
    let mut command = Command::new("runsvdir");
    command.arg("-P").arg(services(job));
    command
}

/// A directory with a `run` for each process.
fn services(job: &Job) -> std::path::PathBuf {
    let all = job.directory.join("services");
    fs::create_dir(&all).expect("the temporary directory is ours");
    for n in 0..job.processes {
        let service = all.join(format!("s{n}"));
        fs::create_dir(&service).expect("the temporary directory is ours");
        let run = service.join("run");
        write(
            &run,
            &format!("#!/bin/sh\nexec {}\n", job.command.join(" ")),
        );
        fs::set_permissions(run, Permissions::from_mode(0o755)).expect("it is ours");
    }
    all
}

/// Its home is the directory, so that a pm2 of the user's own is left alone.
pub(crate) fn pm2(job: &Job) -> Command {
    let [program, words @ ..] = &job.command;
    let apps: Vec<_> = (0..job.processes)
        .map(|n| json!({"name": format!("p{n}"), "script": program, "args": words, "interpreter": "none"}))
        .collect();
    let path = job.directory.join("subjects.json");
    write(&path, &json!({ "apps": apps }).to_string());
    let mut command = Command::new("pm2");
    command.arg("start").arg(path);
    command.env("PM2_HOME", &job.directory);
    command
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the temporary directory is ours");
}
