//! The way through a proxy.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    stage::{Stage, steps},
    steps::nobody,
};

/// A proxy that opens a way to wherever it is asked (CONNECT, RFC 9110 section 9.3.6).
struct Tunnel {
    address: String,
    _runtime: tokio::runtime::Runtime,
}

impl Tunnel {
    fn open() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Self::serve(client));
            }
        });
        Self { address, _runtime: runtime }
    }

    async fn serve(mut client: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = client.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // Ends when either side has had enough.
        let _counts = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

#[test]
fn the_proxy() {
    let address = nobody();
    let stage = Stage::new().with(&json!({"HttpProxy": format!("bob:hunter2hunter2@{address}")}));
    let (code, document) = stage.check_json(&[]);
    let found = steps(&document);
    let proxy = found.iter().find(|step| step[0] == "proxy").unwrap();
    assert_eq!((code, proxy[1].as_str()), (1, "failed"), "{document}");
    assert!(proxy[3].contains("check HttpProxy"), "{proxy:?}");
    assert!(!document.to_string().contains("hunter2"), "{document}");
    assert!(found.iter().all(|step| step[0] != "dns"), "names are the proxy's business: {found:?}");

    let tunnel = Tunnel::open();
    let direct = json!({"HttpProxy": tunnel.address, "GoogleCloudPlatform": {"Gateway": false}});
    let stage = Stage::new().with(&direct);
    let run = stage.check(&[]);
    assert_eq!(run.code, 0, "{run:?}");
    let words = format!("✓ proxy       http://{} lets through to 127.0.0.1:", tunnel.address);
    assert!(run.out.contains(&words) && run.out.contains("✓ tls "), "{}", run.out);
    assert!(!run.out.contains(" dns ") && !run.out.contains(" tcp "), "{}", run.out);

    // What is for the gateway would go there, too.
    let warning =
        "GoogleCloudPlatform.Gateway: Orthanc's HttpProxy would get the requests that are for the gateway";
    assert!(!run.out.contains("127.0.0.1, so that"), "{}", run.out);
    for (gateway, code, severity, consequence) in [
        (json!(true), 1, "error: ", "cannot be used; "),
        (json!(null), 1, "error: ", "cannot be used; "),
        (json!("prefer"), 0, "warning: ", "directly to Google; "),
    ] {
        let stage = Stage::new()
            .with(&json!({"HttpProxy": tunnel.address, "GoogleCloudPlatform": {"Gateway": gateway}}));
        let run = stage.check(&[]);
        assert_eq!(run.code, code, "{run:?}");
        let said = run.out.lines().find(|line| line.contains(warning));
        let said = said.unwrap_or_else(|| panic!("{}", run.out));
        for part in [severity, consequence, "NO_PROXY=127.0.0.1"] {
            assert!(said.contains(part), "{said}");
        }
        let run = stage.with_env("NO_PROXY", "127.0.0.1").check(&[]);
        assert!(run.code == 0 && !run.out.contains(warning), "{}", run.out);
    }

    // Not for hosts that NO_PROXY names.
    let stage =
        Stage::new().with(&json!({"HttpProxy": address.to_string()})).with_env("NO_PROXY", "127.0.0.1");
    let (code, document) = stage.check_json(&[]);
    assert_eq!(code, 0, "{document}");
}
