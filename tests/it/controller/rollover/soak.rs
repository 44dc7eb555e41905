//! The rollover of a busy issuer: `make soak`.

use super::*;

#[tokio::test]
#[ignore = "takes a minute: make soak"]
async fn no_client_fails_during_a_rollover_at_50_requests_a_second() -> Result<()> {
    let rig = pods::rig().await?;
    let issuer = IssuerName::cluster("rolls-fast");
    let (old, new) = (
        Ca::new(rig, "fast-old", 0x36)?,
        Ca::new(rig, "fast-new", 0x37)?,
    );
    let load = Load {
        per_second: 50,
        step: Duration::from_secs(15),
    };
    let begun = Instant::now();
    let [by_old, by_new] = roll(rig, &issuer, [&old, &new], load).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{by_old} and {by_new} certificates in {seconds:.0} s");
    ensure!(
        by_old > 500 && by_new > 500,
        "{by_old} and {by_new} certificates"
    );
    Ok(())
}
