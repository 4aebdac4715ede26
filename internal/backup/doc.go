// Package backup writes, lists, verifies, and reads backups of a cluster. A backup
// is three objects in a Target: content.age has the files, encrypted to recipients;
// signature.json has who signed; manifest.json, which is written last, makes them a
// backup. What a Target returns is not trusted before its signature and its digests
// are checked, and it is bounded.
package backup
