fn main() -> std::process::ExitCode {
    normfree::cli::main()
}
