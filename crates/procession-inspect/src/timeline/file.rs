//! Writing a timeline to a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::recording::Recording;
use super::{svg, trace};

/// What a file contains, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Svg,
    Trace,
    CompressedTrace,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        [(".svg", Self::Svg), (".json", Self::Trace), (".json.gz", Self::CompressedTrace)]
            .into_iter()
            .find(|(end, _)| name.ends_with(end))
            .map(|(_, format)| format)
    }
}

/// Writes the recording to this path. The file is complete or, if this fails, as it was before: everything is written
/// to a new file next to it, which then takes its name.
pub(crate) fn save(recording: &Recording, path: &Path) -> io::Result<()> {
    let Some(format) = Format::of(path) else {
        let message = "the name of a timeline ends in `.svg`, `.json` or `.json.gz`";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    // Nothing that others have put there is followed or overwritten.
    let written = File::create_new(&new).and_then(|file| {
        let written = write(recording, format, file).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            drop(fs::remove_file(&new));
        }
        written
    });
    written.map_err(|error| {
        let message = format!("cannot write the timeline to `{}`: {error}", path.display());
        io::Error::new(error.kind(), message)
    })
}

fn write(recording: &Recording, format: Format, file: File) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    match format {
        Format::Svg => svg::write(recording, &mut file)?,
        Format::Trace => trace::write(recording, &mut file)?,
        Format::CompressedTrace => {
            let mut compressed = GzEncoder::new(file, Compression::default());
            trace::write(recording, &mut compressed)?;
            file = compressed.finish()?;
        }
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Format;

    #[test]
    fn the_name_tells_the_format() {
        for (name, format) in [
            ("a/b.svg", Some(Format::Svg)),
            ("b.SVG", Some(Format::Svg)),
            ("trace.json", Some(Format::Trace)),
            ("trace.json.gz", Some(Format::CompressedTrace)),
            ("trace.gz", None),
            ("svg", None),
            ("..", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }
}
