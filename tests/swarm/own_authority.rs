//! A registry by TLS whose certificate an authority of one's own has signed: what the README says that server and nodes need.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use procserver::document::target_url::TargetUrl;
use procserver::swarm::image::registry::Registry;
use procserver::swarm::image::{Image, Origin};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::engines::Engines;
use super::images::{OwnRegistry, logged_in, makes_root_file_systems, prepare, release, run};
use crate::support::machine::has;
use crate::support::setup::Setup;
use crate::tls::write_pair;

/// An address of this machine of which the fixture does not have engines believe any certificate.
fn elsewhere(engines: &Engines) -> Ipv4Addr {
    let own = engines.host();
    let network = own.octets()[2];
    let address = Ipv4Addr::new(203, 0, 113, network);
    let ip = |words: String| {
        let ended = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(ended.success(), "ip {words}");
    };
    // Both go with the fixture's cables.
    ip(format!("addr add {address}/32 dev psw{network}"));
    let node = engines.namespace(1);
    ip(format!("-n {node} route add {address} via {own}"));
    address
}

#[test]
fn a_registry_of_an_own_authority_is_believed_by_registry_ca_here_and_certs_d_there() {
    let test = "a registry of an own authority";
    if !makes_root_file_systems(test) || !has("docker-registry", "docker-registry", test) {
        return;
    }
    let Some(mut engines) = Engines::start(1, test) else {
        return;
    };
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let host = elsewhere(&engines);
    let names = [host.to_string(), "images.test".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    write_pair(&home, "own", &cert.pem(), &signing_key);
    let at = home.display();
    let tls = format!(", tls: {{certificate: {at}/own.pem, key: {at}/own.key}}");
    // The usual port, which no reference that users write has.
    let _registry = OwnRegistry::start_with(&home, &format!("{host}:443"), &tls);
    let url = format!("https://me:sesame@{host}/apps");
    let registry = Registry::new(TargetUrl::parse(&url, &["https"]).unwrap());
    let looked = |registry: Registry| actix_rt::System::new().block_on(registry.look());
    let told = looked(registry.clone()).unwrap_err().to_string();
    assert!(told.contains("cannot be reached"), "{told}");
    let pem = fs::read_to_string(home.join("own.pem")).unwrap();
    let registry = registry.believed_by(pem.into());
    assert_eq!(looked(registry.clone()).unwrap(), 200);
    let shop = release(&home, "shop", 1);
    let made = prepare(&home, Origin::Registry(registry), &[&shop]).remove(0);
    let config = logged_in(home.join("docker"), &made);
    let config = fs::read_to_string(format!("{config}/config.json"))
        .map(|text| text.replace(&host.to_string(), "images.test"))
        .and_then(|text| fs::write(format!("{config}/config.json"), text).map(|()| config))
        .unwrap();

    let by_name = made.reference.replace(&host.to_string(), "images.test");
    assert!(
        by_name.starts_with("images.test:443/apps/shop@"),
        "{by_name}"
    );
    let hosts = format!("127.0.0.1 localhost\n{host} images.test\n");
    engines.kill(1);
    fs::write(engines.etc(1).join("hosts"), hosts).unwrap();
    engines.revive(1);
    let pull = ["--config", &config, "pull", &by_name];
    let told = engines.try_docker(1, &pull);
    assert!(
        String::from_utf8_lossy(&told.stderr).contains("x509"),
        "{told:?}"
    );
    engines.kill(1);
    let trusted = engines.etc(1).join("docker/certs.d/images.test:443");
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(home.join("own.pem"), trusted.join("ca.crt")).unwrap();
    engines.revive(1);
    let pulled = engines.try_docker(1, &pull);
    assert!(pulled.status.success(), "{pulled:?}");
    let image = Image {
        reference: by_name,
        ..made
    };
    let script = format!("{}/run", shop.files[0].display());
    assert_eq!(run(&engines, &image, &script), "release 1 of shop");
}
