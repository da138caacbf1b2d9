package source_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/piimg/piimg/imagebuild/source"
)

// An image is copied to a file; zeros become holes.
func Example() {
	ctx := context.Background()
	img, err := source.Open(ctx, "raspios.img.xz", source.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	fmt.Println(img.Packing().Detail)

	out, err := os.Create("raspios.img")
	if err != nil {
		log.Fatal(err)
	}
	err = img.Scan(ctx, func(c source.Chunk) error {
		if c.Data == nil {
			return nil
		}
		_, err := out.WriteAt(c.Data, c.Off)
		return err
	})
	if err == nil {
		err = out.Truncate(img.Size())
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		log.Fatal(err)
	}
}
