//! Serves one client: greeting, search for the token, session pool; or the description of all tokens.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hsm::protocol::{Hello, HelloReply};

use crate::{
    answers::Answers,
    hangup, pool,
    requests::Requests,
    say::set_token,
    token::{Token, survey},
    watchdog::Watchdog,
};

/// Serves until the client closes the socket; the `hangup` thread then ends the process. Returns only when no token was
/// found or on an error.
pub(crate) fn serve(module: &Path) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let answers = Arc::new(Answers::new(socket.try_clone()?));
    hangup::start(socket.try_clone()?)?;
    let (requests, hello) = Requests::greeted(socket, Arc::clone(&answers));
    let Hello {
        said: _,
        token,
        sessions,
        hang_after_ms,
    } = hello;
    let watchdog = Watchdog::start(
        Duration::from_millis(hang_after_ms.into()),
        Arc::clone(&answers),
    )?;
    let Some(token) = token else {
        let seat = watchdog.seat();
        return match seat.during(|| survey(module, &seat)) {
            Ok(seen) => answers.survey(&seen),
            Err(why) => answers.hello(&HelloReply::NotFound(why)),
        };
    };
    set_token(&token);
    let found = watchdog.seat().during(|| {
        let token = Token::find(module, &token)?;
        let sessions = pool::open(&token, sessions)?;
        Ok((token, sessions))
    });
    match found {
        Ok((token, sessions)) => pool::run(
            Arc::new(token),
            sessions,
            &Arc::new(requests),
            &answers,
            &watchdog,
        ),
        Err(why) => answers.hello(&HelloReply::NotFound(why)),
    }
}
