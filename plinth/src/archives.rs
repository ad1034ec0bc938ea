//! Archives as files and pipes: what `archive` says, moved.

use std::io::{Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};
use archive::{Chain, DATA_BLOCKS_MAX, HEADER_BYTES, Header, RECORD_BYTES, Record};
use block::{BLOCK_BYTES, BlockRange, Checksum};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};

/// Bytes read or written at once.
const BUFFER_BYTES: usize = 1 << 20;
/// What stands for standard input or output.
const STANDARD: &str = "-";

/// An archive being written.
pub struct Writer {
    out: BufWriter<Box<dyn AsyncWrite + Unpin + Send>>,
    chain: Chain,
}

/// An archive being read.
pub struct Reader {
    input: BufReader<Box<dyn AsyncRead + Unpin + Send>>,
    header: Header,
    chain: Chain,
}

/// A piece of an archive, as it was written.
pub enum Piece {
    /// Blocks with their bytes.
    Data(BlockRange, Vec<u8>),
    /// Blocks that read as zeroes.
    Zeroes(BlockRange),
}

/// Whether the path stands for standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

impl Writer {
    /// A new one; a file that is there already is refused.
    pub async fn create(path: &Path, header: &Header) -> Result<Self> {
        let out: Box<dyn AsyncWrite + Unpin + Send> = if is_standard(path) {
            Box::new(tokio::io::stdout())
        } else {
            let file = File::options().write(true).create_new(true).open(path).await;
            Box::new(file.with_context(|| format!("{} cannot be made; --resume goes on with one", path.display()))?)
        };
        let bytes = header.encode();
        let mut writer = Self { out: buffered(out), chain: Chain::after(header, &bytes) };
        writer.out.write_all(&bytes).await?;
        Ok(writer)
    }

    /// Goes on with a file that lacks its end, behind its last whole record.
    pub async fn resume(path: &Path, header: &Header) -> Result<Self> {
        let mut file =
            File::options().read(true).write(true).open(path).await.with_context(|| path.display().to_string())?;
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes).await.with_context(|| format!("{} has no header", path.display()))?;
        let found = Header::parse(&bytes)?;
        if found != *header {
            bail!(
                "{} is of snapshot {} of volume {}, not of what is to be exported: take another file",
                path.display(),
                found.snapshot_name,
                found.volume_name
            );
        }
        let file = file.into_std().await;
        let chain = Chain::after(header, &bytes);
        let (file, chain) = tokio::task::spawn_blocking(move || last_whole(file, chain)).await??;
        if chain.has_ended() {
            bail!("{} is complete: nothing is to be done", path.display());
        }
        Ok(Self { out: buffered(Box::new(File::from_std(file))), chain })
    }

    /// The block behind the last one written.
    pub fn end(&self) -> u64 {
        self.chain.end()
    }

    /// Blocks of data so far.
    pub fn data_blocks(&self) -> u64 {
        self.chain.data_blocks()
    }

    /// Appends blocks.
    pub async fn data(&mut self, range: BlockRange, bytes: &[u8]) -> Result<()> {
        let record = self.chain.seal(Record::Data { range, checksum: Checksum::of(bytes) })?;
        self.out.write_all(&record).await?;
        Ok(self.out.write_all(bytes).await?)
    }

    /// Appends blocks that read as zeroes.
    pub async fn zeroes(&mut self, range: BlockRange) -> Result<()> {
        let record = self.chain.seal(Record::Zeroes { range })?;
        Ok(self.out.write_all(&record).await?)
    }

    /// Ends it.
    pub async fn finish(mut self) -> Result<()> {
        let record = self.chain.seal(self.chain.last())?;
        self.out.write_all(&record).await?;
        self.out.flush().await?;
        Ok(self.out.shutdown().await?)
    }

    /// What was appended is in the file.
    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush().await?)
    }
}

fn buffered(out: Box<dyn AsyncWrite + Unpin + Send>) -> BufWriter<Box<dyn AsyncWrite + Unpin + Send>> {
    BufWriter::with_capacity(BUFFER_BYTES, out)
}

/// Reads the records of a file as far as they are whole, and cuts off the rest.
fn last_whole(mut file: std::fs::File, mut chain: Chain) -> Result<(std::fs::File, Chain)> {
    let len_bytes = file.metadata()?.len();
    let mut at = HEADER_BYTES as u64;
    while !chain.has_ended() && at + RECORD_BYTES as u64 <= len_bytes {
        let mut bytes = [0; RECORD_BYTES];
        file.seek(SeekFrom::Start(at))?;
        std::io::Read::read_exact(&mut file, &mut bytes)?;
        let mut next = chain.clone();
        let Ok(record) = next.accept(&bytes) else { break };
        let end = at + RECORD_BYTES as u64 + data_bytes(record) as u64;
        if end > len_bytes {
            break;
        }
        (chain, at) = (next, end);
    }
    file.set_len(at)?;
    file.seek(SeekFrom::Start(at))?;
    Ok((file, chain))
}

fn data_bytes(record: Record) -> usize {
    match record {
        Record::Data { range, .. } => range.count.0 as usize * BLOCK_BYTES,
        Record::Zeroes { .. } | Record::End { .. } => 0,
    }
}

impl Reader {
    /// Opens it, and reads what it is of.
    pub async fn open(path: &Path) -> Result<Self> {
        let input: Box<dyn AsyncRead + Unpin + Send> = if is_standard(path) {
            Box::new(tokio::io::stdin())
        } else {
            Box::new(File::open(path).await.with_context(|| path.display().to_string())?)
        };
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let mut bytes = [0; HEADER_BYTES];
        input.read_exact(&mut bytes).await.context("it is too short for an archive")?;
        let header = Header::parse(&bytes)?;
        let chain = Chain::after(&header, &bytes);
        Ok(Self { input, header, chain })
    }

    /// What it is of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next piece; `None` behind the end of one that is complete.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        let mut bytes = [0; RECORD_BYTES];
        let at = self.chain.end();
        let cut = || format!("it ends before its end, behind block {at}: its export did not finish");
        self.input.read_exact(&mut bytes).await.with_context(cut)?;
        match self.chain.accept(&bytes)? {
            Record::Data { range, checksum } => {
                let mut data = vec![0; range.count.0.min(DATA_BLOCKS_MAX) as usize * BLOCK_BYTES];
                self.input.read_exact(&mut data).await.with_context(cut)?;
                if Checksum::of(&data) != checksum {
                    bail!(
                        "the {} blocks from {} on are not what was exported: take another copy",
                        range.count.0,
                        range.first.0
                    );
                }
                Ok(Some(Piece::Data(range, data)))
            }
            Record::Zeroes { range } => Ok(Some(Piece::Zeroes(range))),
            Record::End { .. } => Ok(None),
        }
    }
}
