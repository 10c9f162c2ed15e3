//! The S3 sink on versitygw.

use standpipe_testkit::servers::Versitygw;

use crate::access;

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms_on_versitygw() {
    let server = Versitygw::start().expect("versitygw starts");
    access::conforms(server.access()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_takes_every_checksum() {
    let server = Versitygw::start().expect("versitygw starts");
    access::takes_every_checksum(server.access()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_tells_what_to_correct() {
    let server = Versitygw::start().expect("versitygw starts");
    access::tells_what_to_correct(server.access(), "XAdminUserNotFound").await;
}
