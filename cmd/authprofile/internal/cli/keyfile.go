package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/authprofile/authprofile/sealed"
)

// lockKeys makes sure that no other process changes the key file, or the keys that
// the database is encrypted with, until unlock is called. It returns what is in the
// file now.
//
// What is locked is a file beside it, as the key file itself is replaced.
func (a *app) lockKeys(ctx context.Context, path string) (k *keyring, unlock func(), err error) {
	type lock struct {
		file *lockedfile.File
		err  error
	}
	locked := make(chan lock, 1)
	go func() {
		f, err := lockedfile.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		locked <- lock{f, err}
	}()
	notice := time.AfterFunc(time.Second, func() {
		fmt.Fprintln(a.stderr, "authprofile: another authprofile is at work on the keys: this waits until it has ended.")
	})
	defer notice.Stop()
	select {
	case got := <-locked:
		if got.err != nil {
			return nil, nil, fmt.Errorf("the key file cannot be locked: %w", got.err)
		}
		unlock = func() { got.file.Close() }
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err = checkPrivate("the key file", path); err == nil {
		k, err = readKeys(path)
	}
	if left := os.Remove(unfinished(path)); err == nil && left != nil && !errors.Is(left, fs.ErrNotExist) {
		err = left
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return k, unlock, nil
}

// replaceKeys replaces the key file, by one with the same mode and owner, so that
// there is a whole one at any time. The caller has locked it.
func replaceKeys(path string, keys []sealed.Key, next string) (err error) {
	changed := false
	defer func() {
		switch {
		case changed && err != nil:
			err = fmt.Errorf("the key file was changed, and may be as before after a crash of the machine: %w", err)
		case err != nil:
			err = fmt.Errorf("the key file was not changed: %w", err)
		}
	}()
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(unfinished(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !changed {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := keepOwner(f, info); err != nil {
		return fmt.Errorf("it belongs to another user: run this as that user (%w)", err)
	}
	if _, err := f.Write(formatKeys(keys, next)); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	changed = true
	return syncFolder(filepath.Dir(path))
}

// unfinished returns the name of the file that replaceKeys writes before it replaces
// the key file. One that is there while the lock is free is of a process that was
// killed, and has keys in it: lockKeys removes it.
func unfinished(path string) string { return path + ".unfinished" }
