//! Bytes outside of the protocol, unfinished messages, wrong lengths, clients that disconnect or do not read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::watch::Watched;

struct Raw(TcpStream);

impl Raw {
    fn connect(watched: &Watched) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", watched.server.port())).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket has a timeout");
        Raw(stream)
    }

    /// A connection after the startup.
    fn ready(watched: &Watched) -> Raw {
        let mut raw = Raw::connect(watched);
        raw.0.write_all(&startup(b"user\0tidemark\0database\0tidemark\0\0")).expect("it reads");
        raw.until(b'Z');
        raw
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend((body.len() as i32 + 4).to_be_bytes());
        message.extend(body);
        message
    }

    /// Reads messages up to one of this kind; returns the SQLSTATEs of the errors among them. Empty if the server
    /// disconnected.
    fn until(&mut self, kind: u8) -> Vec<String> {
        let mut codes = vec![];
        loop {
            let mut head = [0; 5];
            if let Err(error) = self.0.read_exact(&mut head) {
                let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(gone.contains(&error.kind()), "the server neither answers nor hangs up: {error}");
                return codes;
            }
            let len = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; len as usize - 4];
            self.0.read_exact(&mut body).expect("a message is whole");
            if head[0] == b'E' {
                let code = body.split(|b| *b == 0).find_map(|field| field.strip_prefix(b"C"));
                codes.push(String::from_utf8_lossy(code.unwrap_or_default()).into_owned());
            }
            if head[0] == kind {
                return codes;
            }
        }
    }
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let mut packet = (parameters.len() as i32 + 8).to_be_bytes().to_vec();
    packet.extend(196_608i32.to_be_bytes());
    packet.extend(parameters);
    packet
}

#[test]
fn bytes_that_are_no_protocol_end_their_connection_alone() {
    let watched = Watched::start("hostile-bytes");
    let mut chance = 7u64;
    let mut garbage = |len: usize| -> Vec<u8> {
        let mut byte = || {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as u8
        };
        (0..len).map(|_| byte()).collect()
    };
    for len in [1, 4, 7, 8, 100, 10_000] {
        let mut raw = Raw::connect(&watched);
        let _ = raw.0.write_all(&garbage(len));
        let _ = raw.0.shutdown(std::net::Shutdown::Write);
        raw.until(b'Z');
    }
    for packet in [
        startup(b""),
        startup(b"\0"),
        startup(b"user\0"),
        startup(b"user\0\xff\xfe\0\0"),
        startup(&[b'x'; 9_000]),
    ] {
        let mut raw = Raw::connect(&watched);
        let _ = raw.0.write_all(&packet);
        let _ = raw.0.shutdown(std::net::Shutdown::Write);
        raw.until(b'Z');
    }
    for kind in 0..=255u8 {
        for body in [garbage(0), garbage(3), garbage(40), vec![0; 40], vec![0xff; 40]] {
            let mut raw = Raw::ready(&watched);
            let _ = raw.0.write_all(&Raw::message(kind, &body));
            let _ = raw.0.write_all(&Raw::message(b'S', b""));
            let _ = raw.0.shutdown(std::net::Shutdown::Write);
            while !raw.until(b'Z').is_empty() {}
        }
    }
    watched.end();
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let watched = Watched::start("hostile-lengths");
    for len in [i32::MIN, -1, 0, 3, i32::MAX] {
        for kind in [b'Q', b'P', b'B', b'd', b'S', b'X'] {
            let mut raw = Raw::ready(&watched);
            let mut head = vec![kind];
            head.extend(len.to_be_bytes());
            let _ = raw.0.write_all(&head);
            let _ = raw.0.shutdown(std::net::Shutdown::Write);
            while !raw.until(b'Z').is_empty() {}
        }
    }
    watched.end();
}

/// 60 clients announce 120 MiB each, send most of it and wait. A message that is not stored fails once it is sent
/// completely, and its connection continues.
#[test]
fn unfinished_messages_have_one_bound_for_all_clients() {
    let watched = Watched::start("hostile-unfinished");
    let len = 120usize << 20;
    let held: Vec<Raw> = (0..60)
        .map(|_| {
            let mut raw = Raw::ready(&watched);
            let mut head = vec![b'B'];
            head.extend((len as i32).to_be_bytes());
            raw.0.write_all(&head).expect("it reads");
            let piece = vec![b'x'; 1 << 20];
            (0..20).for_each(|_| raw.0.write_all(&piece).expect("it reads on, kept or not"));
            raw
        })
        .collect();
    drop(held);
    let mut raw = Raw::ready(&watched);
    let long = Raw::message(b'Q', &vec![b' '; 20 << 20]);
    raw.0.write_all(&long).expect("it is read to its end");
    assert_eq!(raw.until(b'Z'), ["54000"], "a text that is too long is refused");
    raw.0.write_all(&Raw::message(b'Q', b"SELECT 1\0")).expect("the connection goes on");
    assert_eq!(raw.until(b'Z'), [""; 0]);
    watched.end();
}

/// Half-open connections, and clients that request large results and read nothing.
#[test]
fn clients_that_do_not_go_on_keep_nobody_waiting() {
    let watched = Watched::start("hostile-slow");
    let silent: Vec<Raw> = (0..200).map(|_| Raw::connect(&watched)).collect();
    let deaf: Vec<Raw> = (0..20)
        .map(|_| {
            let mut raw = Raw::ready(&watched);
            let ask = b"SELECT g, repeat('x', 1000) FROM generate_series(1, 100000000) s(g)\0";
            raw.0.write_all(&Raw::message(b'Q', ask)).expect("it reads");
            raw
        })
        .collect();
    assert_eq!(watched.server.value("SELECT count(*) FROM t"), "3");
    drop((silent, deaf));
    watched.end();
}

/// Stored statements and portals until memory is exhausted: the clients that store them get errors, others do not.
#[test]
fn prepared_statements_are_bounded() {
    let watched = Watched::start("hostile-prepared");
    let mut raw = Raw::ready(&watched);
    let mut refused = vec![];
    for n in 0..3_000 {
        let mut body = format!("s{n}\0SELECT {}\0", vec!["id"; 1_500].join(",")).into_bytes();
        body.extend([0, 0]);
        raw.0.write_all(&Raw::message(b'P', &body)).expect("it reads");
        raw.0.write_all(&Raw::message(b'S', b"")).expect("it reads");
        refused = raw.until(b'Z');
        if refused != ["42703"] && !refused.is_empty() {
            break;
        }
    }
    assert!(refused == ["42703"] || refused == ["53200"] || refused == ["54000"], "{refused:?}");
    watched.end();
}
