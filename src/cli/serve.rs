//! A page given to browsers on this machine, made anew when the logs behind it change.

use super::{say, stop};
use crate::fault::{Fault, Kind, Result};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The port of `--serve` alone; if it is taken, any that is free.
pub(super) const PORT: u16 = 8470;
/// A browser that says nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of a request.
const LONGEST: u64 = 16 << 10;

/// What is served.
pub(super) trait Page: Send + Sync + 'static {
    /// A text that changes with the logs.
    fn state(&self) -> String;
    /// The page.
    fn page(&self) -> Result<String>;
}

/// Answers browsers on the loopback address until the process ends.
///
/// # Errors
/// [`Kind::Usage`] if the port is taken; [`Kind::Io`].
pub(super) fn serve(page: impl Page, port: u16) -> Result<()> {
    let listener = listen(port)?;
    let failed =
        |e: &std::io::Error| Fault::new(Kind::Io, "cannot serve the page on the loopback address").found(e);
    let port = listener.local_addr().map_err(|e| failed(&e))?.port();
    stop::ends_at_a_signal();
    say(format!("http://127.0.0.1:{port}/"))?;
    let page = Arc::new(page);
    for stream in listener.incoming() {
        // A browser that goes away before it is accepted is no reason to end.
        let Ok(stream) = stream else { continue };
        let page = page.clone();
        // Browsers open connections before they need them, so each has a thread to wait in.
        thread::spawn(move || {
            let _ = answer(stream, &*page, port);
        });
    }
    Ok(())
}

fn listen(port: u16) -> Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = match bound {
        Err(e) if e.kind() == ErrorKind::AddrInUse && port == PORT => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        }
        other => other,
    };
    bound.map_err(|e| {
        Fault::new(Kind::Usage, "the page cannot be served on this port")
            .at(port)
            .found(e)
            .remedy("choose another port, or 0 for any that is free")
    })
}

fn answer(stream: TcpStream, page: &dyn Page, port: u16) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?.take(LONGEST));
    let (mut request, mut host, mut line) = (String::new(), None, String::new());
    reader.read_line(&mut request)?;
    while reader.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            host = Some(value.trim().to_owned());
        }
        line.clear();
    }
    let mut stream = stream;
    let mut words = request.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // A page of another site could reach this address by a name of its own; it must not read what is here.
    let known = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let (status, kind, body) = match (method, target) {
        _ if !host.is_some_and(|host| known.contains(&host)) => {
            ("403 Forbidden", "text/plain", "This page is for this machine alone.\n".to_owned())
        }
        ("GET" | "HEAD", "/") => match page.page() {
            Ok(page) => ("200 OK", "text/html", page),
            Err(fault) => ("500 Internal Server Error", "text/plain", format!("{fault}\n")),
        },
        ("GET" | "HEAD", "/state") => ("200 OK", "text/plain", page.state()),
        ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "There is one page: /\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "This page can only be read.\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}
