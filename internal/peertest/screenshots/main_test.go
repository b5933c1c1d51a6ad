package main

import (
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/require"
)

// maxSize is how large a picture may be, in bytes: people load it with the README.
const maxSize = 120 << 10

func TestPictures(t *testing.T) {
	require.Long(t, "the pictures of the console, by a browser")
	require.Tool(t, "chromium", "install Chromium (Debian: apt-get install chromium)", "chromium-browser", "google-chrome")
	dir := t.TempDir()
	if err := run(t.Context(), dir, []string{"connections"}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(files), 2; got != want {
		t.Errorf("got %d pictures, want %d", got, want)
	}
	brightness := make(map[string]uint32)
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		picture, err := png.Decode(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := picture.Bounds().Dx(), width; got != want {
			t.Errorf("%s: got a width of %d, want %d", name, got, want)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Size(); got > maxSize {
			t.Errorf("%s: got %d bytes, want at most %d", name, got, maxSize)
		}
		brightness[filepath.Base(name)], _, _, _ = picture.At(0, 0).RGBA()
	}
	if light, dark := brightness["connections-light.png"], brightness["connections-dark.png"]; light <= dark {
		t.Errorf("got a light picture of brightness %d, and a dark one of %d, want the first brighter", light, dark)
	}
}

func TestPicturesThatDoNotExist(t *testing.T) {
	if err := run(t.Context(), t.TempDir(), []string{"nothing"}); err == nil {
		t.Error("got no error, want one that says that there is no such picture")
	}
}
