//go:build !unix

package secrets

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) error { return nil }
