//! Target path templates: never a panic; what a template makes of an image and a file is a plain path, which leads back to both and to nothing else.
//!
//! The input is a template, an image name, a file name and a path, one in a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::name::ImageName;
use plimsoll::template::TargetPaths;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (template, image, file, path) = (line(), line(), line(), line());
    let Ok(paths) = TargetPaths::parse(template) else { return };
    assert_eq!(TargetPaths::parse(&paths.to_string()).as_ref(), Ok(&paths));
    if let Ok(image) = ImageName::parse(image)
        && let Ok(path) = paths.path(&image, file)
    {
        assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
        assert_eq!(paths.file_of(&image, &path).as_deref(), Some(file), "{path}");
        let (read, name) = paths.read(&path).expect("what a template makes it reads");
        assert_eq!((name.as_str(), read.target_folder()), (file, image.target_folder()), "{path}");
    }
    if let Some((image, file)) = paths.read(path) {
        assert_eq!(paths.path(&image, &file).as_deref(), Ok(path));
    }
});
