pub struct Options {
    pub scrollback: usize,
}
impl Clone for Options {
    fn clone(&self) -> Self {
        *self
    }
}
impl Copy for Options {}
pub struct Snapshot {
    pub bytes: Vec<u8>,
}
#[derive(Debug, Clone)]
pub enum Event {
    Reply(Vec<u8>),
    Title(Option<String>),
    Bell,
    Cwd(String),
}
pub struct Screen;
impl Screen {
    pub fn new(_: u16, _: u16, _: Options) -> Screen {
        todo!()
    }
    pub fn feed(&mut self, _: &[u8], _: &mut Vec<Event>) {}
    pub fn feed_skipping(&mut self, _: &[u8], _: &mut Vec<Event>) {}
    pub fn resize(&mut self, _: u16, _: u16) {}
    pub fn size(&self) -> (u16, u16) {
        (0, 0)
    }
    pub fn snapshot(&self, _: usize, _: usize) -> Snapshot {
        todo!()
    }
    pub fn restore(_: u16, _: u16, _: Options, _: &[u8]) -> Screen {
        todo!()
    }
}
