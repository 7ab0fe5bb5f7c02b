//! `stayd upgrade`: the processes that hold the sessions become this program.

use super::failure::Failure;
use super::out;
use crate::config::{self, PathFlags};
use crate::holder::{self, HolderError};
use crate::private;
use clap::Args;
use std::path::Path;

#[derive(Args, Debug)]
pub(super) struct Flags {}

pub(super) fn upgrade(paths: &PathFlags, _: &Flags) -> Result<u8, Failure> {
    let dir = config::state_dir(paths)?;
    private::check(&dir)?;
    let program = Path::new("/proc/self/exe");
    match actix::System::new().block_on(holder::upgrade(&dir, program)) {
        Ok(hello) => {
            let (pid, version) = (hello.pid, hello.version);
            out::print(&format!("process {pid} holds the sessions now, with stayd {version}\n"))?;
            Ok(0)
        }
        Err(HolderError::Gone) => {
            out::message(&format!("stayd: nothing holds sessions in {}", dir.display()));
            Ok(1)
        }
        Err(error) => Err(Failure::Other(format!("the sessions run on as they were: {error}"))),
    }
}
