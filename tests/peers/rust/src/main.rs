// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

//! A workload as users of the `spiffe` crate write it. One event a line on stdout.
//! usage: linchpin-peer fetch|watch, with SPIFFE_ENDPOINT_SOCKET in the environment

use spiffe::{WorkloadApiClient, X509Source, X509Svid};
use std::process::ExitCode;
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn describe(svid: &X509Svid) {
    // The DER's length and end (the signature) tell two certificates apart.
    let der = svid.leaf().as_bytes();
    let end: String = der[der.len() - 16..].iter().map(|b| format!("{b:02x}")).collect();
    println!("svid {} {} certificates={}", svid.spiffe_id(), end, svid.cert_chain().len());
}

async fn fetch() -> Result<(), Failure> {
    let client = WorkloadApiClient::connect_env().await?;
    let context = client.fetch_x509_context().await?;
    for svid in context.svids() {
        describe(svid);
    }
    for (domain, bundle) in client.fetch_x509_bundles().await?.iter() {
        println!("bundle {} {}", domain, bundle.authorities().len());
    }
    Ok(())
}

async fn watch() -> Result<(), Failure> {
    let source = X509Source::new().await?;
    let mut updates = source.updated();
    loop {
        match source.svid() {
            Ok(svid) => describe(svid.as_ref()),
            Err(error) => println!("error {error}"),
        }
        println!("updated");
        updates.changed().await?;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let patience = Duration::from_secs(30);
    let done = match std::env::args().nth(1).as_deref() {
        Some("fetch") => match tokio::time::timeout(patience, fetch()).await {
            Ok(done) => done,
            Err(_) => Err("no answer within 30 s".into()),
        },
        Some("watch") => watch().await,
        _ => Err("usage: linchpin-peer fetch|watch".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error:?}");
            ExitCode::FAILURE
        }
    }
}
