//! Opens a shared library and proves that it is a plugin of this ABI. Loaded once, never closed: a library that has
//! started threads cannot be unloaded.
//!
//! Owns: the `unsafe` of loading. Does not own: where libraries are searched.
//! `abi_stable`'s own loader remembers one library per type, so every later plugin would be the first one again; hence
//! the header is fetched here.
#![expect(unsafe_code, reason = "a library is opened and two of its symbols are read")]

use std::path::Path;

use abi_stable::library::AbiHeaderRef;
use abi_stable::std_types::RStr;
use ebb_sdk::DialectInfo;
use ebb_sdk::abi::{ABI_VERSION, HEADER_SYMBOL, LogSink, PluginRef, VERSION_SYMBOL};
use libloading::{Library, Symbol};

use crate::code;
use crate::error::{Error, Result};

/// Opens the library, checks its ABI version, then the layout of everything that crosses, then connects its log.
pub(super) fn open(path: &Path) -> Result<(PluginRef, DialectInfo)> {
    // SAFETY: initialisers of the library run; the user chose it as code to be run, by name, path or folder.
    let library = unsafe { Library::new(path) }.map_err(|error| {
        Error::new(code::plugin::NOT_LOADED, format!("the plugin {} cannot be loaded: {error}", path.display()))
            .hint("it must be a shared library for this operating system and processor")
    })?;
    let version = abi_version(&library, path)?;
    if version != ABI_VERSION {
        return Err(Error::new(
            code::plugin::OTHER_SDK,
            format!(
                "the plugin {} speaks version {version} of the plugin ABI, and this ebb speaks version {ABI_VERSION}",
                path.display()
            ),
        )
        .hint(format!("build it with an ebb-sdk whose ABI_VERSION is {ABI_VERSION}")));
    }
    let module = root_module(&library, path)?;
    // From here on function pointers into the library are in use.
    std::mem::forget(library);
    (module.open())(LogSink { write: log });
    let info = (module.info())();
    let info = serde_json::from_str(&info).map_err(|error| {
        Error::new(code::plugin::OTHER_SDK, format!("the plugin {} does not describe itself: {error}", path.display()))
    })?;
    Ok((module, info))
}

fn abi_version(library: &Library, path: &Path) -> Result<u32> {
    // SAFETY: a symbol of this name is made by `export_dialect!` and has this type in every version of the ABI.
    let symbol: std::result::Result<Symbol<'_, extern "C" fn() -> u32>, _> =
        unsafe { library.get(VERSION_SYMBOL.as_bytes()) };
    let symbol = symbol.map_err(|_| {
        Error::new(
            code::plugin::NOT_A_PLUGIN,
            format!("{} is a shared library but not a plugin of ebb", path.display()),
        )
        .hint("a plugin is made by ebb_sdk::export_dialect! in a crate of type cdylib")
    })?;
    Ok(symbol())
}

fn root_module(library: &Library, path: &Path) -> Result<PluginRef> {
    let refused = |error: String| {
        // The full report of a layout check is a page long; its head says what differs.
        let head: String = error.lines().filter(|line| !line.trim().is_empty()).take(3).collect::<Vec<_>>().join(" ");
        Error::new(
            code::plugin::OTHER_SDK,
            format!("the plugin {} was built with another ebb-sdk: {head}", path.display()),
        )
        .hint("rebuild the plugin with the ebb-sdk of this version of ebb")
    };
    // SAFETY: in ABI version 1 this symbol is a `LibHeader`, which begins with an `AbiHeader`; a reference to it is what
    // `AbiHeaderRef` holds. `upgrade` verifies the magic before it looks further.
    let header: AbiHeaderRef =
        unsafe { *library.get::<AbiHeaderRef>(HEADER_SYMBOL.as_bytes()).map_err(|error| refused(error.to_string()))? };
    let header = header.upgrade().map_err(|error| refused(error.to_string()))?;
    header.init_root_module::<PluginRef>().map_err(|error| refused(error.to_string()))
}

extern "C" fn log(level: u8, message: RStr<'_>) {
    let message = message.as_str();
    match level {
        0 | 1 => tracing::error!(target: "plugin", error_code = code::plugin::SAYS.text(), "{message}"),
        2 => tracing::warn!(target: "plugin", error_code = code::plugin::SAYS.text(), "{message}"),
        3 => tracing::info!(target: "plugin", "{message}"),
        4 => tracing::debug!(target: "plugin", "{message}"),
        _ => tracing::trace!(target: "plugin", "{message}"),
    }
}
