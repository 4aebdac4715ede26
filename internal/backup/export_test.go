package backup

// ReadFiles reads the decrypted files of a content.
var ReadFiles = readFiles
