//! Finds the dialect of a target: by name, by path, or by the scheme of its URL.
//!
//! Owns: where plugins are searched and in which order. Does not own: what a plugin does.

mod applied;
mod library;
mod session;
mod trust;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use abi_stable::std_types::RStr;
use ebb_sdk::abi::PluginRef;
use ebb_sdk::export::root_module;
use ebb_sdk::{ConnectOptions, Dialect, DialectInfo};

pub use applied::Applied;
pub use session::Session;
pub(crate) use trust::{Untrusted, trusted, trusted_folder};

use crate::code;
use crate::error::{Error, Result};

/// A loaded plugin. It stays loaded until the process ends.
pub struct Plugin {
    pub info: DialectInfo,
    pub path: PathBuf,
    module: PluginRef,
}

impl Plugin {
    /// A dialect that is part of this program.
    pub fn linked<D: Dialect>() -> Self {
        Self { info: D::info(), path: PathBuf::new(), module: root_module::<D>() }
    }

    /// Opens a connection to a target.
    pub fn connect(&self, options: &ConnectOptions) -> ebb_sdk::Result<Session> {
        let options = session::encode(options)?;
        match (self.module.connect())(RStr::from_str(&options)).into_result() {
            Ok(inner) => Ok(Session::new(inner)),
            Err(text) => Err(session::error_from(&text)),
        }
    }
}

/// Loads the plugin that `--target-plugin` names, or else the one that claims the scheme of the target's URL.
pub fn load(wanted: Option<&str>, scheme: &str, dirs: &[PathBuf]) -> Result<Plugin> {
    for missing in dirs.iter().filter(|dir| !dir.is_dir()) {
        tracing::warn!(
            error_code = code::plugin::FOLDER_MISSING.text(),
            hint = "correct --plugin-dir or EBB_PLUGIN_PATH",
            "the plugin folder {} does not exist",
            missing.display()
        );
    }
    let places = places(dirs);
    match wanted {
        Some(path) if path.contains(MAIN_SEPARATOR) => open(Path::new(path)),
        Some(name) => by_name(name, &places),
        None => by_scheme(scheme, &places),
    }
}

/// Every file in the plugin folders that looks like a plugin, in search order, loaded or with the reason why not.
pub fn list(dirs: &[PathBuf]) -> Vec<(PathBuf, Result<Plugin>)> {
    candidates(&places(dirs)).into_iter().map(|path| (path.clone(), open(&path))).collect()
}

/// The folders that are searched, first match wins. A relative one would mean whatever folder ebb is started in.
pub fn places(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut places = dirs.to_vec();
    if let Some(folder) = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_path_buf())) {
        places.push(folder.clone());
        places.push(folder.join("../lib/ebb"));
    }
    // The base directory specification takes an empty or relative variable for one that is not set.
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let data = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
    places.extend(data.map(|data| data.join("ebb/plugins")));
    places.extend(["/usr/local/lib/ebb", "/usr/lib/ebb"].map(PathBuf::from));
    places.retain(|place| place.is_absolute());
    places
}

/// The name of a dialect, or of a file.
fn by_name(name: &str, places: &[PathBuf]) -> Result<Plugin> {
    let file = match name.ends_with(DLL_SUFFIX) {
        true => name.to_owned(),
        false => format!("{DLL_PREFIX}ebb_{name}{DLL_SUFFIX}"),
    };
    match places.iter().map(|place| place.join(&file)).find(|path| path.is_file()) {
        Some(path) => open(&path).map_err(|error| hiding(error, &path, places)),
        None => Err(Error::new(
            code::plugin::NOT_FOUND,
            format!("there is no plugin {name}: no {file} in {}", shown(places)),
        )
        .hint("give its path with --target-plugin, or its folder with --plugin-dir or EBB_PLUGIN_PATH")),
    }
}

fn by_scheme(scheme: &str, places: &[PathBuf]) -> Result<Plugin> {
    let (mut seen, mut hides) = (Vec::new(), None);
    for path in candidates(places) {
        match open(&path) {
            Ok(plugin) if plugin.info.url_schemes.iter().any(|known| known == scheme) => return Ok(plugin),
            Ok(plugin) => seen.push(format!("{} ({}://)", plugin.info.name, plugin.info.url_schemes.join("://, "))),
            Err(error) => {
                let hint = error.hint.as_deref();
                tracing::warn!(error_code = error.code.text(), hint, "a plugin is left out: {error}");
                if hidden(&path, places).is_some() {
                    hides.get_or_insert_with(|| hiding(error, &path, places));
                }
            }
        }
    }
    if let Some(error) = hides {
        return Err(error);
    }
    let found = if seen.is_empty() { "none was found".to_owned() } else { format!("found: {}", seen.join(", ")) };
    Err(Error::new(code::plugin::NOT_FOUND, format!("no plugin for {scheme}:// targets in {}; {found}", shown(places)))
        .hint("choose one with --target-plugin, or add its folder with --plugin-dir or EBB_PLUGIN_PATH"))
}

/// A file of the same name in a folder that is searched later.
fn hidden(path: &Path, places: &[PathBuf]) -> Option<PathBuf> {
    let (folder, name) = (path.parent()?, path.file_name()?);
    let behind = places.iter().skip_while(|place| *place != folder).filter(|place| *place != folder);
    behind.map(|place| place.join(name)).find(|other| other.is_file())
}

/// Of a file that cannot be used and keeps another from being found.
fn hiding(error: Error, path: &Path, places: &[PathBuf]) -> Error {
    let Some(other) = hidden(path, places) else { return error };
    let message = format!("{error}; it hides {}", other.display());
    Error { message, ..error }.hint(format!(
        "remove {}, or leave out the --plugin-dir or EBB_PLUGIN_PATH that names its folder",
        path.display()
    ))
}

fn candidates(places: &[PathBuf]) -> Vec<PathBuf> {
    let prefix = format!("{DLL_PREFIX}ebb_");
    let is_plugin = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        name.starts_with(&prefix) && name.ends_with(DLL_SUFFIX)
    };
    let mut found: Vec<PathBuf> = Vec::new();
    for place in places {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_plugin).collect();
        files.sort();
        // A file of the same name in a later folder is hidden, as it would be for a search by name; but not behind one that
        // somebody else may have put there.
        let hides = |earlier: &PathBuf, file: &PathBuf| {
            earlier.file_name() == file.file_name() && trust::own_path(earlier).is_ok()
        };
        files.retain(|file| !found.iter().any(|earlier| hides(earlier, file)));
        found.extend(files);
    }
    found
}

fn open(path: &Path) -> Result<Plugin> {
    if !path.is_file() {
        return Err(Error::new(code::plugin::NOT_FOUND, format!("there is no plugin at {}", path.display()))
            .hint("give the path of a shared library with --target-plugin, or a name to search for"));
    }
    // Without a slash the system's loader would search by rules of its own.
    let (module, info) = library::open(&trust::own_path(path)?)?;
    Ok(Plugin { info, path: path.to_path_buf(), module })
}

fn shown(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}
