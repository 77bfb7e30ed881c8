//! An authority of a day and a certificate for `127.0.0.1` and `localhost`, made by openssl: for servers, also towards one
//! another.

use super::StartError;
use super::folder::Folder;
use super::process::run;

/// The authority's certificate, in the service's folder.
pub const CA: &str = "ca.pem";

/// The server's private key (PKCS#8) and certificate in one file.
pub const SERVER: &str = "server.pem";

/// The server's private key alone.
pub const SERVER_KEY: &str = "server.key";

/// The server's certificate alone.
pub const SERVER_CERTIFICATE: &str = "server.crt";

const NAMES: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";

/// Makes all of them in `folder`.
pub fn make(folder: &Folder) -> Result<(), StartError> {
    let openssl = |arguments: &str| {
        let command: Vec<&str> = std::iter::once("openssl").chain(arguments.split(' ')).collect();
        run(&command, folder.path()).map(|_| ())
    };
    folder.write("names.ext", NAMES)?;
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=caudal-tests -keyout ca.key -out ca.pem")?;
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr")?;
    openssl("x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names.ext -out server.crt")?;
    let read = |name: &str| {
        let path = folder.path().join(name);
        std::fs::read_to_string(&path).map_err(|cause| StartError(format!("cannot read {}: {cause}", path.display())))
    };
    folder.write(SERVER, &(read(SERVER_KEY)? + &read(SERVER_CERTIFICATE)?)).map(|_| ())
}

/// Puts those of one folder into another.
pub fn copy(from: &Folder, to: &Folder) -> Result<(), StartError> {
    for name in [CA, SERVER, SERVER_KEY, SERVER_CERTIFICATE] {
        let (from, to) = (from.path().join(name), to.path().join(name));
        std::fs::copy(&from, &to).map_err(|cause| StartError(format!("cannot copy {}: {cause}", from.display())))?;
    }
    Ok(())
}
