//! How many connections a process of this machine has to a server: as the kernel counts them, whatever they are called.

use std::collections::HashSet;
use std::fs;

/// Connections that `pid` holds to `port` of loopback; none if it has ended.
pub fn connections(pid: u32, port: u16) -> usize {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let link =
        |fd: fs::DirEntry| fs::read_link(fd.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    let held: HashSet<u64> = fds.filter_map(link).collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().skip(1).filter_map(|line| open(line, port)).filter(|inode| held.contains(inode)).count()
}

/// The socket of a line of the kernel's table, if it is connected to `port`.
fn open(line: &str, port: u16) -> Option<u64> {
    let mut fields = line.split_whitespace().skip(2);
    let (remote, state) = (fields.next()?, fields.next()?);
    let (_, to) = remote.split_once(':')?;
    (state == "01" && u16::from_str_radix(to, 16) == Ok(port)).then(|| fields.nth(5)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn own_connections_are_counted_while_they_are_open() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, pid) = (listener.local_addr().unwrap().port(), std::process::id());
        assert_eq!(connections(pid, port), 0);
        let open: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        assert_eq!(connections(pid, port), 3);
        drop(open);
        assert_eq!(connections(pid, port), 0);
    }
}
